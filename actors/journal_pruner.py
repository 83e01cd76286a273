"""Removes what is kept of runs that are over, once it is old or too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import structlog

from .domain.log_once import LogOnce
from .domain.ports import Clock, Journal
from .runtime import AsyncioActor, Ticker

log = structlog.get_logger("actors.journal_pruner")

PAUSE_SECONDS = 600.0
"""Between two rounds; the first one is at the start.

What comes to an end in this time is there beyond what is to be kept.
"""


@dataclass(frozen=True, slots=True)
class Prune:
    """To itself: it is time for the next round."""


@dataclass(frozen=True, slots=True)
class _Pruned:
    count: int


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


Message = Prune | _Pruned | _Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPrunerView:
    """What the JournalPruner shows of itself."""

    trouble: str | None
    """Why the last round failed; None: it did not."""


class JournalPruner(AsyncioActor):
    """Owns: the rhythm of its rounds. A restarted one begins with a round."""

    def __init__(
        self, *, journal: Journal, clock: Clock, keep_seconds: float, keep_count: int
    ) -> None:
        super().__init__(clock=clock)
        self._journal = journal
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._keep_count = keep_count
        self._ticker: Ticker | None = None
        self._complaint = LogOnce()

    def inspect(self) -> JournalPrunerView:
        return JournalPrunerView(trouble=self._complaint.reported)

    def on_start(self) -> None:
        """The first round does not keep the worker from starting."""
        self._ticker = self.every(lambda: PAUSE_SECONDS, Prune())

    def on_receive(self, message: Message) -> None:
        """A round takes its time beside the mailbox; the next one follows its end."""
        assert self._ticker is not None, "messages come after on_start"
        match message:
            case Prune():
                self._ticker.hold()
                self.pipe(self._prune(), on_result=_Pruned, on_error=_Failed)
                return
            case _Pruned(count=count):
                self._complaint.resolve()
                if count:
                    log.info("journal.pruned", removed=count)
            case _Failed(error=error):
                if self._complaint.report(str(error)):
                    log.warning("journal.not_pruned", error=str(error))
            case _:
                assert_never(message)
        self._ticker.rearm()

    async def _prune(self) -> int:
        return await self._journal.prune(
            self._clock.now(), keep_seconds=self._keep_seconds, keep_count=self._keep_count
        )
