"""The keeper as a program: detaches, locks its state folder, says that it is ready, and runs."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import json
import os
import resource
import signal
import sys

from .cgroup import Cgroups, own_group
from .constants import BUSY, LOCK, LOG, READY
from .files import open_own
from .keeper import Keeper, Options
from .loop import Loop
from .procfs import knows_connections
from .spawn import NOT_DEFAULT, InheritedState
from .trust import is_own_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LOG_BYTES = 1024 * 1024
OLD = ".old"
"""A full log is kept under its name with this suffix, until the next one is full."""

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def main(arguments: list[str]) -> int:
    """Runs a keeper as the JSON object in the first argument says; returns the exit code.

    ``state``: the state folder. ``ready``: the descriptor for READY or BUSY. ``linger``,
    ``embedded`` and ``grace``: see Options.
    """
    given = json.loads(arguments[0])
    if os.fork() > 0:  # the worker waits for this process, not for the keeper
        os._exit(0)
    os.setsid()
    os.chdir(given["state"])
    if not is_own_folder(os.curdir):
        sys.exit(f"{given['state']} is not a folder of this user's")
    ready: int = given["ready"]
    os.set_inheritable(ready, False)
    _detach(ready)
    lock = open_own(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.write(ready, BUSY)
        return 3
    _log_to_file()
    inherited, missing = _prepare()
    cgroups = Cgroups.of(os.curdir, own_group())
    if not cgroups.possible:
        missing.append(
            "no control group: a process that sheds its ancestry and environment is not found"
        )
    loop = Loop()
    options = Options(linger=given["linger"], embedded=given["embedded"], grace=given["grace"])
    keeper = Keeper(loop, inherited, cgroups, options, missing)
    keeper.start()
    os.write(ready, READY)
    os.close(ready)
    loop.run()
    return 0


def _detach(ready: int) -> None:
    """Closes all inherited descriptors except ``ready``."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.closerange(3, ready)
    os.closerange(ready + 1, os.sysconf("SC_OPEN_MAX"))


def _log_to_file() -> None:
    log = Log(LOG, onto=(1, 2))
    sys.stderr = io.TextIOWrapper(log, "utf-8", "backslashreplace", write_through=True)


def _prepare() -> tuple[InheritedState, list[str]]:
    """Makes this process a keeper. Returns what runs get back, and what the platform lacks."""
    for number in signal.valid_signals() - set(NOT_DEFAULT):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    inherited = InheritedState(os.umask(0o077), (soft, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return inherited, _missing()


def _missing() -> list[str]:
    """What this platform cannot do for runs, in sentences."""
    missing = []
    if not _become_subreaper():
        missing.append("no subreaper: processes that a run orphans are found by their marker only")
    if not os.path.exists("/proc/self/stat"):
        missing.append("no /proc: only a run's own process is found, not what it starts")
    if not hasattr(os, "pidfd_open"):
        missing.append("no pidfd: the end of a former keeper's runs is seen a second late")
    if not hasattr(os, "splice"):
        missing.append("no splice: output is copied through the keeper")
    if not knows_connections():
        missing.append("no /proc/net/tcp: any user may connect to a run's control channel")
    return missing


def _become_subreaper() -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class Log(io.RawIOBase):
    """The keeper's log. It is bounded, since a keeper lives for weeks.

    What a full disk does not take is dropped: the run that it is about must go on.

    Owns: _descriptor, _size (bytes in the file).
    """

    def __init__(
        self, path: str, *, max_bytes: int = MAX_LOG_BYTES, onto: tuple[int, ...] = ()
    ) -> None:
        """Appends to ``path``, and redirects the descriptors ``onto`` to it. Raises OSError."""
        self._path = path
        self._max_bytes = max_bytes
        self._onto = onto
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(OSError):
            if self._size + len(data) > self._max_bytes:
                self._begin_anew()
            self._size += os.write(self._descriptor, data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _open(self) -> int:
        descriptor = open_own(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for other in self._onto:
            os.dup2(descriptor, other)
        return descriptor

    def _begin_anew(self) -> None:
        os.replace(self._path, self._path + OLD)
        full, self._descriptor = self._descriptor, self._open()
        os.close(full)
        self._size = 0
