"""The worker's hand on the keeper: starts it, talks to it, and gets a new one where it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Self

from ..domain.errors import CouldNotStart, KeeperError
from ..domain.ids import ClaimKey
from ..domain.ports import FactListener
from ..domain.process import KeptRun, ProcessIdentity, SpawnOrder
from .connection import ConnectionLost, Frame, KeeperConnection, connect
from .keeper.names import PROTOCOL
from .keeper.protocol import ProtocolError
from .kept import Kept
from .starting import KeeperOptions, start_keeper
from .state_folder import StateFolder
from .telling import Line, Teller, identity, kept_run

__all__ = ["KeeperLauncher", "KeeperOptions"]

ATTEMPTS = 100
ATTEMPT_PAUSE = 0.05
"""Times and seconds between them: a former keeper may be on its way out, or a new one in."""
ANSWER_SECONDS = 30.0
"""A keeper that does not greet within this time is stuck."""
FIRST_RETRY = 0.1
LAST_RETRY = 5.0
"""Seconds between attempts to get a keeper back; doubled each time."""

_log = logging.getLogger(__name__)


class KeeperLauncher:
    """Launcher over a keeper in another process (a port of the domain).

    Owns: _connection, _lines (key -> newest line of the keeper's table), _kept (duplicates of
    what must outlive the keeper), _endings (ends ordered and not yet carried out), _teller.
    Requests are idempotent, so one that was lost with a keeper is asked again of the next.
    """

    def __init__(self, state: StateFolder, options: KeeperOptions | None = None) -> None:
        self._folder: Path = state.path
        self._state = state
        self._options = options or KeeperOptions()
        self._connection: KeeperConnection | None = None
        self._attempt: asyncio.Task[KeeperConnection] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._closed = False
        self._replaced = False
        self._lines: dict[str, Line] = {}
        self._kept = Kept()
        self._endings: dict[str, tuple[int, float]] = {}
        self._teller = Teller()
        self.missing: tuple[str, ...] = ()
        """What the platform cannot do for runs, in sentences."""
        self.keeper_pid: int | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Connect to the folder's keeper, starting one if there is none. Raises KeeperError."""
        self._state.prepare()
        await self._connected()

    async def aclose(self) -> None:
        """Leave the keeper to itself; an embedded one ends its runs and then itself first."""
        self._closed = True
        for task in (self._mending, self._attempt):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._options.embedded:
                connection.send({"op": "end"})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._options.end_grace_seconds + ANSWER_SECONDS):
                        await connection.ended
            connection.close()
        self._teller.close()
        self._kept.close()

    async def spawn(self, order: SpawnOrder, listener: FactListener) -> ProcessIdentity:
        """See Launcher.spawn."""
        directory = order.working_dir
        frame = {
            "op": "spawn",
            "key": order.key,
            "folder": str(order.folder.absolute()),
            "argv": list(order.argv),
            "env": dict(order.env),
            "working_dir": None if directory is None else str(directory.absolute()),
            "control_channel": order.control_channel,
            "nice": order.nice,
            "max_output_bytes": order.max_output_bytes,
            "end_leftovers": order.end_leftovers,
        }
        answer = await self._request(frame)
        if "error" in answer:
            raise CouldNotStart(answer["message"])
        line: Line = self._lines.get(order.key) or answer["run"]
        self._teller.watch(line, listener)
        return identity(line)

    async def watch(self, key: ClaimKey, listener: FactListener) -> KeptRun | None:
        """See Launcher.watch. Output is told from its beginning."""
        await self._connected()
        line = self._lines.get(key)
        if line is None:
            return None
        self._teller.watch(line, listener)
        return kept_run(line)

    async def end_tree(
        self, key: ClaimKey, *, signal: int, grace_seconds: float, announce_cancel: bool = False
    ) -> None:
        """See Launcher.end_tree. Should the keeper die meanwhile, the next one gets the order."""
        deadline = time.monotonic() + grace_seconds
        await self._request(
            {
                "op": "end_tree",
                "key": key,
                "signal": int(signal),
                "grace": grace_seconds,
                "announce_cancel": announce_cancel,
            }
        )
        line = self._lines.get(key)
        if line is not None and not line["swept"]:
            self._endings[key] = (int(signal), deadline)

    async def forget(self, key: ClaimKey) -> None:
        """See Launcher.forget."""
        await self._request({"op": "forget", "key": key})
        self._lines.pop(key, None)
        self._endings.pop(key, None)
        self._teller.drop(key)
        self._kept.drop(key)

    async def table(self) -> list[KeptRun]:
        """See Launcher.table."""
        answer = await self._request({"op": "table"})
        return [kept_run(line) for line in answer["runs"]]

    async def _request(self, frame: Frame) -> Frame:
        for _ in range(ATTEMPTS):
            connection = await self._connected()
            try:
                return await connection.request(frame)
            except ConnectionLost:
                await asyncio.sleep(ATTEMPT_PAUSE)
            except ProtocolError as error:
                raise CouldNotStart(f"The order does not fit: {error}.") from error
        raise KeeperError(f"The keeper of {self._folder} ends whenever it is asked something.")

    async def _connected(self) -> KeeperConnection:
        if self._replaced:
            raise KeeperError(f"Another worker has taken over the keeper of {self._folder}.")
        if self._closed:
            raise KeeperError("This launcher is closed.")
        if self._connection is not None:
            return self._connection
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(self._attempted)
        return await asyncio.shield(self._attempt)

    def _attempted(self, attempt: asyncio.Task[KeeperConnection]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # told to whoever waits; nobody may be

    async def _connect(self) -> KeeperConnection:
        for _ in range(ATTEMPTS):
            connection = None
            try:
                raw = await connect(self._folder)
                connection = KeeperConnection(raw, self._heard, self._lost)
                await self._greet(connection)
                await self._take_up(connection)
            except (FileNotFoundError, ConnectionRefusedError):
                if await start_keeper(self._folder, self._options):
                    continue
            except ConnectionLost:
                pass
            except TimeoutError:
                raise KeeperError(f"The keeper of {self._folder} does not answer.") from None
            except OSError as error:
                raise KeeperError(f"No way to the keeper of {self._folder}: {error}.") from error
            else:
                self._connection = connection
                return connection
            finally:
                if connection is not None and connection is not self._connection:
                    connection.close()
            await asyncio.sleep(ATTEMPT_PAUSE)
        raise KeeperError(
            f"Another keeper holds {self._folder} and does not answer. See keeper.log there."
        )

    async def _greet(self, connection: KeeperConnection) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            hello = await connection.request({"op": "hello", "protocol": PROTOCOL})
        if "error" in hello:
            raise KeeperError(
                f"The keeper of {self._folder} speaks version {hello.get('protocol')} of the "
                f"protocol and this worker version {PROTOCOL}. Use the worker's other version "
                "until its runs are over, or another --state-dir."
            )
        if hello["embedded"] != self._options.embedded:
            raise KeeperError(
                f"The keeper of {self._folder} is {'' if hello['embedded'] else 'not '}embedded "
                "in a worker, unlike the one wanted. Use another --state-dir."
            )
        self.missing = tuple(hello["missing"])
        self.keeper_pid = hello["pid"]

    async def _take_up(self, connection: KeeperConnection) -> None:
        """After a keeper's death: give the next one what we kept, and compare notes."""
        for key, what in self._kept.names():
            held = self._kept.find(key, what)
            if held is not None:  # while we waited the keeper may have told us more
                descriptor, token = held
                frame = {"op": "adopt", "key": key, "what": what, "token": token}
                frame["position"] = self._lines.get(key, {}).get("position", 0)
                await connection.request(frame, descriptor)
        answer = await connection.request({"op": "table"})
        lines = {line["key"]: line for line in answer["runs"]}
        for key, line in self._lines.items():
            if key not in lines:  # its folder is gone: nobody will ever know more
                lost = line["exit"] or {"code": None}
                lines[key] = {**line, "exit": lost, "swept": True, "piped": False}
        for line in lines.values():
            self._note(line)
        for key, (signal, deadline) in list(self._endings.items()):
            grace = max(0.0, deadline - time.monotonic())
            order = {"op": "end_tree", "key": key, "signal": signal, "grace": grace}
            await connection.request({**order, "announce_cancel": False})

    def _heard(self, frame: Frame, descriptor: int | None) -> None:
        if "run" in frame:
            self._note(frame["run"])
        match frame.get("fact"):
            case "keep" if descriptor is not None:
                self._kept.take(frame["key"], frame["what"], descriptor, frame.get("token", ""))
                return
            case "output":
                for key, position in frame["positions"].items():
                    if key in self._lines:
                        self._note({**self._lines[key], "position": position})
            case "replaced":
                self._replaced = True
        if descriptor is not None:
            os.close(descriptor)

    def _note(self, line: Line) -> None:
        self._lines[line["key"]] = line
        self._teller.update(line)
        if line["swept"]:
            self._endings.pop(line["key"], None)
            self._kept.drop(line["key"])

    def _lost(self, connection: KeeperConnection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if self._closed:
            return
        if self._replaced:
            _log.error("keeper.taken_over", extra={"folder": str(self._folder)})
            return
        _log.warning("keeper.lost", extra={"folder": str(self._folder), "pid": self.keeper_pid})
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._mend())

    async def _mend(self) -> None:
        """Get a keeper back, so that facts come again although nobody asks for anything."""
        pause = FIRST_RETRY
        while True:
            try:
                await self._connected()
                return
            except KeeperError as error:
                if self._closed or self._replaced:
                    return
                _log.error("keeper.missing", extra={"error": str(error)})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)
