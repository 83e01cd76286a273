"""Removes what is kept of runs that are over, once it is old or too much."""

from __future__ import annotations

import structlog

from .domain.ports import Clock, Journal
from .periodic_actor import PeriodicActor

PAUSE_SECONDS = 600.0
"""Between two rounds. What comes to an end in this time is there beyond what is to be kept."""


class JournalPruner(PeriodicActor[int]):
    """Owns: the rhythm of its rounds. The first one does not keep the worker from starting."""

    failure_event = "journal.not_pruned"
    recovery_event = "journal.pruned_again"

    def __init__(
        self, *, journal: Journal, clock: Clock, keep_seconds: float, keep_count: int
    ) -> None:
        super().__init__(log=structlog.get_logger("actors.journal_pruner"))
        self._clock = clock
        self._journal = journal
        self._keep_seconds = keep_seconds
        self._keep_count = keep_count

    def pause_seconds(self) -> float:
        return PAUSE_SECONDS

    async def work(self) -> int:
        return await self._journal.prune(
            self._clock.now(), keep_seconds=self._keep_seconds, keep_count=self._keep_count
        )

    def round_ended(self, result: int) -> None:
        super().round_ended(result)
        if result:
            self._log.info("journal.pruned", removed=result)
