"""The worker's hand on the keeper: the Launcher port over the keeper's socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Self, TypeVar

from ..domain.errors import CouldNotStart, KeeperError, StateFolderError
from ..domain.ids import ClaimKey
from ..domain.ports import FactListener
from ..domain.process import KeptRun, ProcessIdentity, SpawnOrder
from ..journal.state_folder import StateFolder
from ..keeper.constants import NOT_NOW
from .connection import Frame, KeeperConnection
from .fact_dispatcher import Line, Teller, identity, kept_run
from .held_descriptors import Kept
from .link import KeeperLink
from .starting import KeeperOptions

__all__ = ["KeeperLauncher", "KeeperOptions"]

T = TypeVar("T")


class KeeperLauncher:
    """Launcher over a keeper in another process (a port of the domain).

    Owns: _link, _lines (key -> newest line of the keeper's table), _kept (duplicates of
    what must outlive the keeper), _endings (ends ordered and not yet carried out), _teller.
    Requests are idempotent, so one that was lost with a keeper is asked again of the next.
    """

    def __init__(self, state: StateFolder, options: KeeperOptions | None = None) -> None:
        self._state = state
        self._link = KeeperLink(
            state, options or KeeperOptions(), heard=self._heard, take_up=self._take_up
        )
        self._lines: dict[str, Line] = {}
        self._kept = Kept()
        self._endings: dict[str, tuple[int, float]] = {}
        self._teller = Teller()

    @property
    def missing(self) -> tuple[str, ...]:
        """What the platform cannot do for runs, in sentences."""
        return self._link.missing

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
        """Connect to the folder's keeper, starting one if there is none.

        KeeperError: there is none to be had. StateFolderError: another worker holds the folder.
        """
        if not self._state.try_lock():
            raise StateFolderError(
                f"Another worker that is still running holds {self._state.path}."
            )
        await self._link.connected()

    def on_failure(self, tell: Callable[[KeeperError], object]) -> None:
        """Call ``tell`` with the error that says why no keeper can be had again, if so.

        Whoever else asked for that is called, too.
        """
        self._link.on_failure(tell)

    async def or_failure(self, wanted: asyncio.Future[T]) -> T:
        """What ``wanted`` brings. KeeperError: no keeper can be had again before it brings it."""
        return await self._link.or_failure(wanted)

    async def aclose(self) -> None:
        """Leave the keeper to itself; an embedded one ends its runs and then itself first."""
        await self._link.close()
        self._teller.close()
        self._kept.close()

    async def spawn(self, order: SpawnOrder, listener: FactListener) -> ProcessIdentity:
        """See Launcher.spawn. StateFolderError: no disk takes a record, so nothing was started."""
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
        answer = await self._link.request(frame)
        if answer.get("error") == NOT_NOW:
            raise StateFolderError(answer["message"])
        if "error" in answer:
            raise CouldNotStart(answer["message"])
        line: Line = self._lines.get(order.key) or answer["run"]
        self._teller.watch(line, listener)
        return identity(line)

    async def watch(self, key: ClaimKey, listener: FactListener) -> KeptRun | None:
        """See Launcher.watch. Output is told from its beginning."""
        await self._link.connected()
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
        await self._link.request(
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
        await self._link.request({"op": "forget", "key": key})
        self._lines.pop(key, None)
        self._endings.pop(key, None)
        self._teller.drop(key)
        self._kept.drop(key)

    async def table(self) -> list[KeptRun]:
        """See Launcher.table."""
        answer = await self._link.request({"op": "table"})
        return [kept_run(line) for line in answer["runs"]]

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
            case "output":
                for key, position in frame["positions"].items():
                    if key in self._lines:
                        self._note({**self._lines[key], "position": position})

    def _note(self, line: Line) -> None:
        self._lines[line["key"]] = line
        self._teller.update(line)
        if line["swept"]:
            self._endings.pop(line["key"], None)
            self._kept.drop(line["key"])
