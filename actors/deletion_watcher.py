"""Finds out which runs were deleted at the server, so that their processes are ended."""

from __future__ import annotations

import random

import structlog

from .domain.ids import FlowRunId
from .domain.policy import jittered
from .domain.ports import Orchestrator
from .messages.dispatcher import ListRuns, RunsDeleted
from .messages.services import Peers
from .periodic_actor import PeriodicActor

PAUSE_SECONDS = 30.0
"""Between two looks on average. A worker without runs asks the server nothing."""

ASK_TIMEOUT_SECONDS = 10.0


class DeletionWatcher(PeriodicActor[frozenset[FlowRunId]]):
    """Owns: the rhythm of its looks. An engine hears of it only when it reports its next state."""

    failure_event = "deletions.unknown"
    recovery_event = "deletions.recovered"

    def __init__(self, *, orchestrator: Orchestrator, rng: random.Random, peers: Peers) -> None:
        super().__init__(log=structlog.get_logger("actors.deletion_watcher"))
        self._orchestrator = orchestrator
        self._rng = rng
        self._peers = peers

    def pause_seconds(self) -> float:
        return jittered(PAUSE_SECONDS, self._rng)

    async def work(self) -> frozenset[FlowRunId]:
        runs = await self._peers.dispatcher.request(ListRuns(), timeout=ASK_TIMEOUT_SECONDS)
        run_ids = frozenset(info.run.id for info in runs if info.claimed and info.holds_slot)
        return await self._orchestrator.missing_runs(run_ids) if run_ids else frozenset()

    def round_ended(self, result: frozenset[FlowRunId]) -> None:
        super().round_ended(result)
        if result:
            self._peers.dispatcher.tell(RunsDeleted(run_ids=result))
