"""A keeper that says what the test wants, on the socket of a state folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from actors.journal.state_folder import StateFolder
from actors.keeper.constants import PROTOCOL, SOCKET
from actors.keeper.protocol import Decoder, encode
from tests.integration.keeper.kit import PATIENCE

A_RUN = {
    "pid": 1,
    "start_ticks": 1,
    "boot_id": "",
    "pid_namespace": "",
    "exit": None,
    "exit_position": 0,
    "swept": False,
    "position": 0,
}

REFUSAL = {"error": "version", "protocol": PROTOCOL + 1}


class ScriptedKeeper:
    """Greets, has an empty table, and takes for ever to start a run, or for one to end.

    Owns: greeting, greeted (how often), speaks (the only version it understands), starts_runs
    (whether it says that it does), leaves_when_told_to_end, _peers.
    """

    def __init__(self) -> None:
        self.speaks = PROTOCOL
        self.greeting: dict[str, Any] = {
            "protocol": PROTOCOL,
            "pid": 1,
            "embedded": False,
            "missing": ["no luck"],
        }
        self.greeted = 0
        self.starts_runs = False
        self.leaves_when_told_to_end = False
        self._news = asyncio.Event()
        self._peers: set[asyncio.StreamWriter] = set()

    async def until_greeted(self, times: int) -> None:
        """Wait until so many workers have said hello, or one of them so often."""
        await self._until(lambda: self.greeted >= times)

    async def until_left(self) -> None:
        """Wait until nobody is there any more."""
        await self._until(lambda: not self._peers)

    def hang_up(self) -> None:
        """End all conversations."""
        for peer in self._peers:
            peer.close()

    def tell(self, frame: dict[str, Any]) -> None:
        """Say something to everybody who is there."""
        self.send(encode(frame))

    def send(self, data: bytes) -> None:
        """Likewise, in bytes."""
        for peer in self._peers:
            peer.write(data)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one worker until it leaves."""
        self._peers.add(writer)
        decoder = Decoder()
        try:
            while data := await reader.read(4096):
                for frame in decoder.feed(data):
                    if frame["op"] == "end" and self.leaves_when_told_to_end:
                        return
                    if frame["op"] == "spawn" and not self.starts_runs:
                        continue  # it waits for a directory, for instance
                    writer.write(encode({"id": frame["id"], **self._answer(frame)}))
                    if frame.get("protocol", self.speaks) != self.speaks:
                        return
        finally:
            self._peers.discard(writer)
            self._news.set()
            writer.close()

    async def _until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._news.clear()
                await self._news.wait()

    def _answer(self, frame: dict[str, Any]) -> dict[str, Any]:
        if frame["op"] == "spawn":
            return {"run": {**A_RUN, "key": frame["key"], "folder": frame["folder"]}}
        if frame["op"] != "hello":
            return {"runs": []}
        if frame["protocol"] != self.speaks:
            return {"error": "version", "protocol": self.speaks}
        self.greeted += 1
        self._news.set()
        return self.greeting


@asynccontextmanager
async def scripted_keeper(state: StateFolder) -> AsyncIterator[ScriptedKeeper]:
    """A scripted keeper that listens meanwhile."""
    keeper = ScriptedKeeper()
    server = await asyncio.start_unix_server(keeper.converse, state.path / SOCKET)
    try:
        yield keeper
    finally:
        keeper.hang_up()
        server.close()
        await server.wait_closed()
        await keeper.until_left()
