"""The Launcher port over the keeper's socket."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Self, TypeVar

from ..domain.errors import CouldNotStart, KeeperError, StateFolderError
from ..domain.ids import ClaimKey
from ..domain.ports import FactListener
from ..domain.process import KeptRun, ProcessIdentity, SpawnOrder
from ..keeper.constants import NOT_NOW
from .connection import Frame, KeeperConnection
from .fact_dispatcher import FactDispatcher, RunBlocking, TableRow, identity, kept_run
from .link import KeeperLink, WorkerFolder
from .starting import KeeperOptions

__all__ = ["KeeperLauncher", "KeeperOptions"]

T = TypeVar("T")


class KeeperLauncher:
    """Launcher over a keeper in another process.

    ``run_blocking`` makes the reads of output, in a thread.

    Owns: _link, _rows (key -> newest row of the keeper's table), _held (descriptors that must
    outlive the keeper: of each run its pipe, and its listener or the engine's connection to that),
    _endings (ends ordered and not yet carried out), _facts, _closed.
    Requests are idempotent, so one that was lost with a keeper is sent to the next.
    """

    def __init__(
        self,
        state: WorkerFolder,
        options: KeeperOptions | None = None,
        *,
        run_blocking: RunBlocking = asyncio.to_thread,
    ) -> None:
        self._state = state
        self._options = options or KeeperOptions()
        self._link = KeeperLink(state, self._options, heard=self._heard, take_up=self._take_up)
        self._rows: dict[str, TableRow] = {}
        self._held: dict[tuple[str, bool], tuple[Frame, int]] = {}
        self._endings: dict[str, tuple[int, float]] = {}
        self._facts = FactDispatcher(run_blocking)
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def keeper_pid(self) -> int | None:
        """The keeper's process; None before start()."""
        return self._link.keeper_pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Connects to the folder's keeper, starting one if there is none.

        KeeperError: it cannot be started. StateFolderError: another worker holds the folder.
        """
        if not self._state.try_lock():
            raise StateFolderError(
                f"Another worker that is still running holds {self._state.path}."
            )
        await self._link.connected()

    def on_failure(self, tell: Callable[[KeeperError], object]) -> None:
        """Calls ``tell`` with the reason once no keeper can be had again.

        It may be called several times, and each ``tell`` is called.
        """
        self._link.failure.add_done_callback(lambda failure: tell(failure.result()))

    async def or_failure(self, wanted: asyncio.Future[T]) -> T:
        """Waits for ``wanted``.

        KeeperError: no keeper can be had again, or this launcher was closed, before it was done.
        """
        futures = (wanted, self._link.failure, self._closed)
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            return wanted.result()
        if self._link.failure.done():
            raise self._link.failure.result()
        raise KeeperError("The launcher was closed while the run was still there.")

    async def aclose(self) -> None:
        """Leaves the keeper alone; an embedded one first ends its runs and itself."""
        await self._link.close()
        if self._options.embedded:  # the ends of its runs are facts that somebody waits for
            await self._facts.finish()
        self._facts.close()
        for key, _ in list(self._held):
            self._drop_held(key)
        if not self._closed.done():
            self._closed.set_result(None)

    async def spawn(self, order: SpawnOrder, listener: FactListener) -> ProcessIdentity:
        directory = order.working_dir
        frame = {
            "op": "spawn",
            "key": order.key,
            "folder": str(order.folder.absolute()),
            "argv": list(order.argv),
            "env": dict(order.env),
            "working_dir": None if directory is None else str(directory.absolute()),
            "on_python_path": order.on_python_path,
            "control_channel": order.control_channel,
            "nice": order.nice,
            "max_output_bytes": order.max_output_bytes,
            "end_leftovers": order.end_leftovers,
        }
        answer = await self._link.request(frame)
        if answer.get("error") == NOT_NOW:
            raise StateFolderError(answer["message"])
        if "error" in answer:
            raise CouldNotStart(answer["message"])
        row: TableRow = self._rows.get(order.key) or answer["run"]
        self._facts.subscribe(row, listener)
        return identity(row)

    async def watch(self, key: ClaimKey, listener: FactListener) -> KeptRun | None:
        await self._link.connected()
        row = self._rows.get(key)
        if row is None:
            return None
        self._facts.subscribe(row, listener)
        return kept_run(row)

    async def end_tree(
        self, key: ClaimKey, *, signal: int, grace_seconds: float, announce_cancel: bool = False
    ) -> None:
        """Should the keeper die meanwhile, the next one gets the order."""
        deadline = time.monotonic() + grace_seconds
        await self._link.request(
            {
                "op": "end_tree",
                "key": key,
                "signal": int(signal),
                "grace": grace_seconds,
                "announce_cancel": announce_cancel,
            }
        )
        row = self._rows.get(key)
        if row is not None and not row["swept"]:
            self._endings[key] = (int(signal), deadline)

    async def forget(self, key: ClaimKey) -> None:
        await self._link.request({"op": "forget", "key": key})
        self._rows.pop(key, None)
        self._endings.pop(key, None)
        self._facts.drop(key)
        self._drop_held(key)

    async def table(self) -> list[KeptRun]:
        answer = await self._link.request({"op": "table"})
        return [kept_run(row) for row in answer["runs"]]

    async def _take_up(self, connection: KeeperConnection) -> None:
        """Sends a new keeper the held descriptors and pending orders, and takes its table."""
        for slot in list(self._held):
            if slot in self._held:  # it may have been dropped while we waited
                kept, descriptor = self._held[slot]
                frame = {"op": "adopt", "key": slot[0], "what": kept["what"]}
                frame["token"] = kept.get("token", "")
                frame["position"] = self._rows.get(slot[0], {}).get("position", 0)
                await connection.request(frame, descriptor)
        answer = await connection.request({"op": "table"})
        rows = {row["key"]: row for row in answer["runs"]}
        for key, row in self._rows.items():
            if key not in rows:  # its folder is gone: nothing more will be known
                lost = row["exit"] or {"code": None}
                rows[key] = {**row, "exit": lost, "swept": True}
        for row in rows.values():
            self._note(row)
        for key, (signal, deadline) in list(self._endings.items()):
            grace = max(0.0, deadline - time.monotonic())
            order = {"op": "end_tree", "key": key, "signal": signal, "grace": grace}
            await connection.request({**order, "announce_cancel": False})

    def _heard(self, frame: Frame, descriptor: int | None) -> None:
        if "run" in frame:
            self._note(frame["run"])
        match frame.get("fact"):
            case "keep" if descriptor is not None:
                self._hold(frame, descriptor)
            case "output":
                for key, position in frame["positions"].items():
                    if key in self._rows:
                        self._note({**self._rows[key], "position": position})

    def _note(self, row: TableRow) -> None:
        self._rows[row["key"]] = row
        self._facts.update(row)
        if row["swept"]:
            self._endings.pop(row["key"], None)
            self._drop_held(row["key"])

    def _hold(self, frame: Frame, descriptor: int) -> None:
        slot = (frame["key"], frame["what"] == "pipe")
        if slot in self._held:
            os.close(self._held[slot][1])
        self._held[slot] = (frame, os.dup(descriptor))

    def _drop_held(self, key: str) -> None:
        for slot in ((key, True), (key, False)):
            if slot in self._held:
                os.close(self._held.pop(slot)[1])
