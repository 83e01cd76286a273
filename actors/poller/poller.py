"""Asks the server for due runs, in a rhythm, and hands them to the Dispatcher."""

from __future__ import annotations

import random
from datetime import timedelta

import structlog

from ..domain.errors import OrchestratorError
from ..domain.model import WorkPool
from ..domain.policy import jittered
from ..domain.ports import Clock, Orchestrator
from ..messages.dispatcher import CurrentCapacity, DueRuns
from ..messages.guardian import FatalError, Round, RoundEnded, Stage
from ..messages.health_reporter import Polled, PollFailed, PollingOver
from ..messages.heartbeater import CurrentPool
from ..messages.poller import PollNow
from ..messages.services import Peers, ServiceSettings
from ..periodic_actor import PeriodicActor
from .run_search import RunSearch

ASK_TIMEOUT_SECONDS = 10.0


class Poller(PeriodicActor[DueRuns | Stage | None]):
    """Owns: the polling rhythm and _search.

    Before each poll it asks the Guardian whether the worker still takes runs, the Heartbeater for
    the pool, and the Dispatcher for its capacity.
    """

    failure_event = "poll.failed"
    recovery_event = "poll.recovered"

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        rng: random.Random,
        peers: Peers,
    ) -> None:
        log = structlog.get_logger("actors.poller").bind(pool=settings.pool)
        super().__init__(log=log)
        self._clock = clock
        self._settings = settings
        self._orchestrator = orchestrator
        self._rng = rng
        self._peers = peers
        self._search = RunSearch(settings, orchestrator=orchestrator, clock=clock, log=log)

    def on_receive(self, message: object) -> None:
        if isinstance(message, PollNow):
            self.wake()
        else:
            super().on_receive(message)

    def pause_seconds(self) -> float:
        return jittered(self._settings.query_seconds, self._rng)

    async def work(self) -> DueRuns | Stage | None:
        """Poll. Returns the stage of a worker that takes no more runs.

        None: the pool was not read yet. The Heartbeater tells PollNow when it is.
        """
        stage = await self._peers.stage()
        if stage is not Stage.WORKING:
            return stage
        known = await self._peers.heartbeater.request(CurrentPool(), timeout=ASK_TIMEOUT_SECONDS)
        if known is None:
            return None
        asked_at = self._clock.monotonic()
        capacity = await self._peers.dispatcher.request(
            CurrentCapacity(), timeout=ASK_TIMEOUT_SECONDS
        )
        before = self._clock.now() + timedelta(seconds=self._settings.prefetch_seconds)
        found = await self._search.find(
            capacity, pool=known.pool, queues=known.queues, before=before
        )
        pool = await self._fresh_pool(known.pool) if found.runs else known.pool
        return DueRuns(runs=found.runs, pool=pool, asked_at=asked_at, shares=found.shares)

    async def _fresh_pool(self, known: WorkPool) -> WorkPool:
        """The template may have been changed since the last heartbeat."""
        try:
            pool = await self._orchestrator.read_work_pool(self._settings.pool)
        except OrchestratorError:
            return known
        return pool if pool.base_job_template else known

    def round_ended(self, result: DueRuns | Stage | None) -> None:
        match result:
            case DueRuns():
                super().round_ended(result)
                self._answered(result)
            case Stage():
                self._end()

    def _answered(self, due: DueRuns) -> None:
        self._peers.health_reporter.tell(Polled())
        if due.runs:
            self._peers.dispatcher.tell(due)
        if self._settings.once:
            self._end()
            self._peers.guardian.tell(RoundEnded(Round.POLL))

    def _end(self) -> None:
        self.end_rounds()
        self._peers.health_reporter.tell(PollingOver())

    def round_failed(self, error: Exception) -> None:
        self._peers.health_reporter.tell(PollFailed(cause=str(error)))
        if self._settings.once:
            self.end_rounds()
            self._peers.guardian.tell(FatalError(error=error))
        else:
            super().round_failed(error)
