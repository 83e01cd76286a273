"""The keeper's socket: how long it waits for a peer that proves nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.keeper.constants import SOCKET
from actors.keeper.loop import READ
from actors.keeper.server import STRANGER_SECONDS, Server
from tests.unit.keeper.manual_loop import ManualLoop


class WatchingLoop(ManualLoop):
    """Owns: watched (what is to be called when something is there to read)."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: list[Callable[[int], None]] = []

    def watch(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        self.watched.append(callback)


def test_a_stranger_that_stays_silent_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loop = WatchingLoop()
    server = Server(loop, lambda *_: None, lambda: None)
    server.listen()
    [accept] = loop.watched
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(SOCKET)
        accept(READ)
        stranger.setblocking(False)
        loop.advance(STRANGER_SECONDS - 1)
        with pytest.raises(BlockingIOError):
            stranger.recv(1)
        loop.advance(1)
        assert stranger.recv(1) == b""
    server.close()
