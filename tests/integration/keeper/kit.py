"""Real keepers and real processes for tests, and what must be true once they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from actors.domain.ids import ClaimKey
from actors.domain.process import (
    ExitStatus,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    SpawnOrder,
    TreeEnded,
)
from actors.journal.state_folder import StateFolder
from actors.keeper import procfs
from actors.keeper.cgroup import own_group
from actors.keeper.constants import SOCKET
from actors.keeper.protocol import Decoder, encode
from actors.processes.launcher import KeeperLauncher, KeeperOptions
from tests.support.on_loop import on_loop as on_loop

PATIENCE = 60.0
"""Seconds until a wait for something that must happen counts as failed."""

needs_groups = pytest.mark.skipif(
    own_group() is None, reason="no control group may be created here (cgroups(7), version 2)"
)


@dataclass
class Facts:
    """A listener that remembers, and on which one can wait."""

    told: list[ProcessFact] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, fact: ProcessFact) -> None:
        self.told.append(fact)
        self._news.set()

    @property
    def lines(self) -> list[str]:
        return [
            line for fact in self.told if isinstance(fact, OutputWritten) for line in fact.lines
        ]

    @property
    def dropped(self) -> int:
        return sum(fact.dropped for fact in self.told if isinstance(fact, OutputWritten))

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def line(self, start: str) -> str:
        """The first line that begins so, once it was printed."""

        def found() -> list[str]:
            return [line for line in self.lines if line.startswith(start)]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def exited(self) -> ExitStatus:
        def found() -> list[ExitStatus]:
            return [fact.status for fact in self.told if isinstance(fact, ProcessExited)]

        await self.until(lambda: bool(found()))
        assert len(found()) == 1
        return found()[0]

    async def gone(self) -> tuple[tuple[int, str], ...]:
        def found() -> list[tuple[tuple[int, str], ...]]:
            return [fact.leftovers for fact in self.told if isinstance(fact, TreeEnded)]

        await self.until(lambda: bool(found()))
        assert len(found()) == 1
        return found()[0]


def order(state: StateFolder, *argv: str, key: ClaimKey | None = None) -> SpawnOrder:
    """An order for ``argv`` with a plain environment; ``dataclasses.replace`` does the rest."""
    key = key or ClaimKey(f"{uuid.uuid4()}.{os.urandom(4).hex()}")
    folder = state.runs / key
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return SpawnOrder(
        key=key,
        folder=folder,
        argv=argv,
        env={"PATH": os.environ["PATH"]},
        working_dir=Path("/"),
    )


def shell(state: StateFolder, script: str) -> SpawnOrder:
    """An order for a shell script."""
    return order(state, "sh", "-c", script)


def python(state: StateFolder, script: str) -> SpawnOrder:
    """An order for a Python script that starts fast."""
    return order(state, sys.executable, "-I", "-S", "-u", "-c", script)


def embedded(state: StateFolder) -> KeeperLauncher:
    """A launcher whose keeper ends with it, and its runs do."""
    return KeeperLauncher(state, KeeperOptions(embedded=True, end_grace_seconds=1.0))


def lasting(state: StateFolder) -> KeeperLauncher:
    """A launcher whose keeper outlives it, but no longer than there are runs."""
    return KeeperLauncher(state, KeeperOptions(linger_seconds=0.0))


class Stranger:
    """A peer on the keeper's socket that is not the launcher's connection."""

    def __init__(self, state: StateFolder) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(state.path / SOCKET))
        self._socket.settimeout(PATIENCE)
        self._decoder = Decoder()
        self._frames: list[dict[str, Any]] = []

    def say(self, frame: dict[str, Any], *descriptors: int) -> None:
        self.send(encode(frame), *descriptors)

    def send(self, data: bytes, *descriptors: int) -> None:
        """``data``, the first byte of it with ``descriptors``."""
        if descriptors:
            socket.send_fds(self._socket, [data[:1]], descriptors)
            data = data[1:]
        self._socket.sendall(data)

    def heard(self) -> dict[str, Any] | None:
        """The next frame; None when the keeper hangs up instead."""
        with contextlib.suppress(ConnectionResetError):
            while not self._frames and (data := self._socket.recv(65536)):
                self._frames += self._decoder.feed(data)
        return self._frames.pop(0) if self._frames else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class Gate:
    """A FIFO at which a run waits until the test lets it go on: ``read x < gate``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path, 0o600)
        self._end = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self) -> None:
        os.write(self._end, b"go\n")

    def close(self) -> None:
        os.close(self._end)


def command_line(pid: int) -> str:
    """The arguments of ``pid`` joined by spaces; empty when it is gone."""
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return data.decode(errors="replace").rstrip("\0").replace("\0", " ")


def marked(keys: Collection[str]) -> list[str]:
    """The living processes that carry one of the markers, in words."""
    return [
        f"{stat.pid} {command_line(stat.pid) or stat.command} ({stat.state})"
        for stat in procfs.processes()
        if stat.alive and procfs.marker(stat.pid) in keys
    ]


def zombies_of(pid: int) -> list[int]:
    """Children of ``pid`` that it has not waited for."""
    return [stat.pid for stat in procfs.processes() if stat.parent == pid and not stat.alive]


def keepers_of(state: StateFolder) -> list[int]:
    """The keepers at work on the state folder, without their children that are no runs."""
    folder = json.dumps(str(state.path))
    found = {
        stat.pid: stat.parent for stat in procfs.processes() if folder in command_line(stat.pid)
    }
    return [pid for pid, parent in found.items() if parent not in found]


def kill_keeper(launcher: KeeperLauncher) -> int:
    """Kill the launcher's keeper; the pid it had."""
    pid = launcher.keeper_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    return pid


def descriptors_of(pid: int) -> int:
    """How many descriptors the process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def groups_of(state: StateFolder) -> Path:
    """Where the runs' control groups are while there are any."""
    found = state.path.stat()
    name = f"actor-worker-{found.st_dev:x}-{found.st_ino:x}"
    return Path(own_group() or "/nowhere") / name


def ended(pid: int, patience: float = PATIENCE) -> bool:
    """Whether the process, not our child, ends within ``patience`` seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        return bool(waiting.poll(patience * 1000))
    finally:
        os.close(handle)
