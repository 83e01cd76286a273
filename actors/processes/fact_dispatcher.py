"""Tells the facts about runs to those who subscribed to them: in order, once, in bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from ..domain.ids import ClaimKey
from ..domain.plain_text import plain
from ..domain.ports import FactListener
from ..domain.process import (
    ExitStatus,
    KeptRun,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    ProcessIdentity,
    TreeEnded,
)
from ..keeper.output_reader import OutputReader, Piece

TableRow = dict[str, Any]
"""A row of the keeper's table, as it comes over the socket."""

RunBlocking = Callable[[Callable[[], Piece]], Awaitable[Piece]]
"""Makes a call that blocks in a thread, such as :func:`asyncio.to_thread`."""

TURN_SECONDS: Final = 0.002
"""Between two reads of one run's output. With CHUNK it bounds what a run can tell in a second; a
run that prints faster loses the middle of its output to the bound on disk, not to our memory."""

STUCK_SECONDS: Final = 5.0
"""A read that takes longer is stuck. Exits are told without output then."""

STUCK_TURN_SECONDS: Final = 0.1
"""Between two turns while a read is stuck."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Subscription:
    """One listener to one run. Owns: reader (of the run's output), and what was told already."""

    def __init__(self, row: TableRow, listener: FactListener) -> None:
        self.key: str = row["key"]
        self.listener = listener
        self.row = row
        self.reader = OutputReader(Path(row["folder"]))
        self._told_exit = False
        self._told_tree_end = False

    @property
    def output_end(self) -> int:
        """The position up to which output is told before the next fact."""
        return int(self.row["exit_position" if self._must_tell_exit else "position"])

    def tell_output(self, piece: Piece) -> None:
        if piece.lines or piece.dropped:
            self._tell(
                OutputWritten(key=ClaimKey(self.key), lines=piece.lines, dropped=piece.dropped)
            )

    def tell_next(self) -> bool:
        """Tells the exit or the end of the tree; False when there is neither to tell now."""
        if not self._must_tell_exit and not self._must_tell_tree_end:
            return False
        self.tell_output(self.reader.finish())
        key = ClaimKey(self.key)
        if self._must_tell_exit:
            self._told_exit = True
            self._tell(ProcessExited(key=key, status=exit_status(self.row)))
        else:
            self._told_tree_end = True
            leftovers = tuple((pid, command) for pid, command in self.row["leftovers"])
            self._tell(TreeEnded(key=key, leftovers=leftovers))
        return True

    def skip_output(self) -> None:
        """Gives up the output before the next fact, if there is one that waits for it.

        The stuck thread still uses the former reader, so another one takes its place.
        """
        if self._must_tell_exit or self._must_tell_tree_end:
            former, end = self.reader, self.output_end
            self.reader = OutputReader(Path(self.row["folder"]), position=end)
            self.tell_output(Piece((), dropped=end - former.position))

    @property
    def _must_tell_exit(self) -> bool:
        return self.row["exit"] is not None and not self._told_exit

    @property
    def _must_tell_tree_end(self) -> bool:
        return bool(self.row["swept"]) and not self._told_tree_end

    def _tell(self, fact: ProcessFact) -> None:
        try:
            self.listener(fact)
        except Exception:
            _log.exception("keeper.listener_failed", key=self.key)


class FactDispatcher:
    """Lets the subscriptions take turns.

    Owns: _subscriptions (by key), _due (keys with something to tell), _turns (the task that tells
    it), _reading (the read under way, in a thread: one at a time, so that a stuck disk takes one).
    """

    def __init__(
        self,
        run_blocking: RunBlocking = asyncio.to_thread,
        *,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._run_blocking = run_blocking
        self._stuck_seconds = stuck_seconds
        self._subscriptions: dict[str, Subscription] = {}
        self._due: dict[str, None] = {}
        self._turns: asyncio.Task[None] | None = None
        self._reading: asyncio.Future[Piece] | None = None

    def subscribe(self, row: TableRow, listener: FactListener) -> None:
        """Tells ``listener`` all about the run, from its beginning; it replaces a former one.

        A listener that is subscribed already is not told again.
        """
        key = row["key"]
        subscription = self._subscriptions.get(key)
        if subscription is None or subscription.listener != listener:
            self._subscriptions[key] = Subscription(row, listener)
        self.update(row)

    def update(self, row: TableRow) -> None:
        key = row["key"]
        if key in self._subscriptions:
            self._subscriptions[key].row = row
            self._due[key] = None
            if self._turns is None:
                self._turns = asyncio.create_task(self._take_turns(), name="facts about runs")

    def drop(self, key: str) -> None:
        """Tells nothing more about the run."""
        self._subscriptions.pop(key, None)
        self._due.pop(key, None)

    async def finish(self) -> None:
        """Returns when all was told, or when that takes too long."""
        if self._turns is not None:
            await asyncio.wait([self._turns], timeout=2 * self._stuck_seconds)

    def close(self) -> None:
        """Tells nothing more."""
        if self._turns is not None:
            self._turns.cancel()
        self._subscriptions.clear()
        self._due.clear()

    async def _take_turns(self) -> None:
        while self._due:
            for key in list(self._due):
                subscription = self._subscriptions.get(key)
                if subscription is not None and subscription.reader.position < (
                    subscription.output_end
                ):
                    await self._tell_output(subscription)
                elif subscription is None or not subscription.tell_next():
                    self._due.pop(key, None)
            stuck = self._reading is not None
            await asyncio.sleep(STUCK_TURN_SECONDS if stuck else TURN_SECONDS)
        self._turns = None

    async def _tell_output(self, subscription: Subscription) -> None:
        """Reads and tells the next piece; when a read is stuck, exits do not wait for it."""
        if self._reading is None:
            reader = subscription.reader
            read = partial(reader.read, subscription.output_end)
            self._reading = asyncio.ensure_future(self._run_blocking(read))
            self._reading.add_done_callback(partial(self._read_done, subscription, reader))
            await asyncio.wait([self._reading], timeout=self._stuck_seconds)
        if self._reading is not None:
            subscription.skip_output()

    def _read_done(
        self, subscription: Subscription, reader: OutputReader, done: asyncio.Future[Piece]
    ) -> None:
        self._reading = None
        is_subscribed = self._subscriptions.get(subscription.key) is subscription
        if is_subscribed and subscription.reader is reader and not done.cancelled():
            subscription.tell_output(done.result())


def identity(row: TableRow) -> ProcessIdentity:
    """The identity of the run's own process."""
    return ProcessIdentity(
        pid=row["pid"],
        start_ticks=row["start_ticks"],
        boot_id=row["boot_id"],
        pid_namespace=row["pid_namespace"],
    )


def exit_status(row: TableRow) -> ExitStatus:
    """How the run's own process ended, and what its engine said before."""
    said = row.get("conclusion") or {"disposition": None}  # older keepers have none
    reported = None
    match said["disposition"]:
        case "STATE_REPORTED":
            reported = plain(said["state_name"])
        case "ORCHESTRATION_ABORTED":
            reported = "ABORTED"
    return ExitStatus(
        code=row["exit"]["code"],
        reported=reported,
        acknowledged=said["disposition"] == "INTENT_ACKNOWLEDGED",
    )


def kept_run(row: TableRow) -> KeptRun:
    """The row in terms of the domain."""
    return KeptRun(
        key=ClaimKey(row["key"]),
        identity=identity(row),
        exit=None if row["exit"] is None else exit_status(row),
        tree_ended=row["swept"],
        output_bytes=row["position"],
        control_connected=row["control"],
        rebooted=row["rebooted"],
    )
