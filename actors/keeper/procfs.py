"""Reads what the kernel says about processes (proc(5)).

Where there is no ``/proc`` (macOS) every answer is empty, so only our own children are known.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import sys
from collections.abc import Iterator

from .constants import MARKER

_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_MARKER = b"\0" + MARKER.encode("ascii") + b"="


class Stat:
    """The fields of ``/proc/<pid>/stat`` that are needed here."""

    __slots__ = ("command", "kernel", "parent", "pgrp", "pid", "session", "start", "state")

    def __init__(self, pid: int, command: str, rest: list[bytes]) -> None:
        self.pid = pid
        self.command = command
        self.state = rest[0].decode("ascii")
        self.parent = int(rest[1])
        self.pgrp = int(rest[2])
        self.session = int(rest[3])
        self.kernel = bool(int(rest[6]) & _PF_KTHREAD)
        self.start = int(rest[19])
        """Clock ticks since boot: with the pid it identifies a process of this boot."""

    @property
    def alive(self) -> bool:
        """Whether it is neither a zombie nor dead."""
        return self.state not in "ZXx"

    @property
    def stopped(self) -> bool:
        """Whether a signal stopped it (SIGSTOP, SIGTSTP)."""
        return self.state == "T"


UNREAD = 0
"""The start of a process where the platform does not tell it."""


def unread(pid: int) -> Stat:
    """A run's own process without ``/proc``: it leads its session and group."""
    lead = str(pid).encode("ascii")
    return Stat(pid, "", [b"R", b"0", lead, lead, *[b"0"] * 16])


def stat(pid: int) -> Stat | None:
    """The process ``pid`` now; None when there is none."""
    data = read(f"/proc/{pid}/stat")
    head, found, tail = data.rpartition(b")")  # the command may contain brackets
    if not found:
        return None
    fields = tail.split()
    if len(fields) < 20:
        return None
    command = head.partition(b"(")[2].decode("utf-8", "replace")
    return Stat(pid, command, fields)


def processes() -> Iterator[Stat]:
    """All processes, read one after the other: this is no snapshot of one moment."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    for name in names:
        if name.isdigit():
            found = stat(int(name))
            if found is not None:
                yield found


def marker(pid: int) -> str | None:
    """The run that the environment of ``pid`` names; None when none, or it is not readable."""
    data = b"\0" + read(f"/proc/{pid}/environ")
    _, found, rest = data.partition(_MARKER)
    if not found:
        return None
    return rest.partition(b"\0")[0].decode("utf-8", "replace")


def user(pid: int) -> int | None:
    """The effective user of ``pid``; None when there is no such process."""
    found = re.search(rb"^Uid:\t\d+\t(\d+)", read(f"/proc/{pid}/status"), re.MULTILINE)
    return None if found is None else int(found[1])


_CONNECTIONS = ("/proc/net/tcp", "/proc/net/tcp6")


def knows_connections() -> bool:
    """Whether the platform tells who owns a TCP connection."""
    return os.path.exists(_CONNECTIONS[0])


def user_of_connection(here: tuple[str, int], there: tuple[str, int]) -> int | None:
    """The owner of the socket at ``here`` that is connected to ``there`` (IPv4); None if there is
    none.

    See proc_pid_net(5). It may be a socket of IPv6 with mapped addresses.
    """
    row = rb"(?m)^ *\d+: (?:[0F]{24})?%b (?:[0F]{24})?%b [0-9A-F]{2}(?: +\S+){3} +(\d+) "
    wanted = re.compile(row % (_hexadecimal(here), _hexadecimal(there)))
    for table in _CONNECTIONS:
        found = wanted.search(read(table))
        if found is not None:
            return int(found[1])
    return None


def _hexadecimal(address: tuple[str, int]) -> bytes:
    """As the kernel prints it: the address in the machine's byte order."""
    number = int.from_bytes(socket.inet_aton(address[0]), sys.byteorder)
    return b"%08X:%04X" % (number, address[1])


@functools.cache
def boot_id() -> str:
    """Changes with every boot of the machine; empty where the platform does not tell it."""
    return read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()


@functools.cache
def pid_namespace() -> str:
    """The set of processes that pids refer to (pid_namespaces(7))."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def read(path: str) -> bytes:
    """The content of one of the kernel's files, empty where it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall() or b""
    except OSError:  # gone (also ESRCH while reading), or not for us
        return b""
