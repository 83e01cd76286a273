"""What the keeper says about runs, told to those who watch them: in order, once, in bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import structlog

from ..domain.ids import ClaimKey
from ..domain.ports import FactListener
from ..domain.process import (
    ExitStatus,
    KeptRun,
    Leftovers,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    ProcessIdentity,
    TreeEnded,
)
from ..keeper.output_reader import OutputReader, Piece

Line = dict[str, Any]
"""A line of the keeper's table, as it comes over the socket."""

TURN_SECONDS = 0.002
"""Between two readings of output. With CHUNK it bounds what one run can tell in a second; a run
that prints faster loses the middle of its output to the bound on disk, not to our memory."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class Watch:
    """One listener to one run. Owns: _reader, and what was told already."""

    def __init__(self, line: Line, listener: FactListener) -> None:
        self.listener = listener
        self._key = ClaimKey(line["key"])
        self._line = line
        self._reader = OutputReader(Path(line["folder"]))
        self._told_exit = False
        self._told_gone = False

    @property
    def position(self) -> int:
        """How far the output was read."""
        return self._reader.position

    def update(self, line: Line) -> None:
        """Take the newest line of the table."""
        self._line = line

    def step(self) -> bool:
        """Tell the next thing; False when there is nothing to tell now."""
        line = self._line
        over, gone = line["exit"] is not None, line["swept"]
        until = line["exit_position"] if over and not self._told_exit else line["position"]
        if self._reader.position < until:
            self._tell_piece(self._reader.read(until))
            return True
        if over and not self._told_exit:
            self._tell_piece(self._reader.finish())
            self._told_exit = True
            self._tell(ProcessExited(key=self._key, status=exit_status(line)))
            return True
        if gone and not self._told_gone:
            self._tell_piece(self._reader.finish())
            self._told_gone = True
            self._tell(TreeEnded(key=self._key, leftovers=_leftovers(line)))
        return False

    def _tell_piece(self, piece: Piece) -> None:
        if piece.lines or piece.dropped:
            self._tell(OutputWritten(key=self._key, lines=piece.lines, dropped=piece.dropped))

    def _tell(self, fact: ProcessFact) -> None:
        try:
            self.listener(fact)
        except Exception:
            _log.exception("keeper.listener_failed", key=self._key)


class Teller:
    """Takes turns among the watches. Owns: _watches, _due (keys with something to tell)."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}
        self._due: dict[str, None] = {}
        self._turn: asyncio.TimerHandle | None = None

    def watch(self, line: Line, listener: FactListener) -> None:
        """Tell ``listener`` all about the run, from its beginning; it replaces a former one.

        The listener that watches already is not told again.
        """
        key = line["key"]
        watch = self._watches.get(key)
        if watch is None or watch.listener != listener:
            self._watches[key] = Watch(line, listener)
        self.update(line)

    def update(self, line: Line) -> None:
        """There is news of a run."""
        key = line["key"]
        if key in self._watches:
            self._watches[key].update(line)
            self._due[key] = None
            if self._turn is None:
                self._schedule(0.0)

    def position(self, key: str) -> int:
        """How far the output of ``key`` was read; 0 when nobody watches it."""
        watch = self._watches.get(key)
        return 0 if watch is None else watch.position

    def drop(self, key: str) -> None:
        """Tell nothing more about ``key``."""
        self._watches.pop(key, None)
        self._due.pop(key, None)

    def close(self) -> None:
        """Tell nothing more."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._watches.clear()
        self._due.clear()

    def _schedule(self, delay: float) -> None:
        self._turn = asyncio.get_running_loop().call_later(delay, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        for key in list(self._due):
            watch = self._watches.get(key)
            if watch is None or not watch.step():
                self._due.pop(key, None)
        if self._due and self._turn is None:
            self._schedule(TURN_SECONDS)


def identity(line: Line) -> ProcessIdentity:
    """Who the run's own process is."""
    return ProcessIdentity(
        pid=line["pid"],
        start_ticks=line["start_ticks"],
        boot_id=line["boot_id"],
        pid_namespace=line["pid_namespace"],
    )


def exit_status(line: Line) -> ExitStatus:
    """How it ended."""
    return ExitStatus(**line["exit"])


def kept_run(line: Line) -> KeptRun:
    """The line in the house's terms."""
    return KeptRun(
        key=ClaimKey(line["key"]),
        identity=identity(line),
        exit=None if line["exit"] is None else exit_status(line),
        tree_ended=line["swept"],
        output_bytes=line["position"],
        control_connected=line["control"],
        rebooted=line["rebooted"],
    )


def _leftovers(line: Line) -> Leftovers:
    return Leftovers(processes=tuple((pid, command) for pid, command in line["leftovers"]))
