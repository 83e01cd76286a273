"""Asks the server for due runs, in a rhythm, and hands them to the Dispatcher."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

import structlog

from ..domain.errors import OrchestratorError
from ..domain.log_once import LogOnce
from ..domain.model import WorkPool
from ..domain.policy import jittered
from ..domain.ports import Clock, Orchestrator
from ..messages.dispatcher import CurrentCapacity, DueRuns
from ..messages.guardian import CurrentStage, FatalError, Round, RoundEnded, Stage
from ..messages.health_reporter import Polled, PollFailed, PollingOver
from ..messages.heartbeater import CurrentPool
from ..messages.poller import PollNow
from ..runtime import ActorDeadError, Address, AsyncioActor, Ticker, Timeout
from .run_search import RunSearch

log = structlog.get_logger("actors.poller")

ASK_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSettings:
    """What to poll, and how often. Defaults are Prefect's.

    ``queues`` empty means all queues of the pool. ``query_seconds`` is the mean pause between
    polls, ``prefetch_seconds`` how early a run may be taken. ``once``: a single poll.
    """

    pool: str
    queues: tuple[str, ...] = ()
    query_seconds: float = 10.0
    prefetch_seconds: float = 10.0
    once: bool = False


@dataclass(frozen=True, slots=True)
class Poll:
    """To itself: it is time for the next poll."""


@dataclass(frozen=True, slots=True)
class _Answered:
    due: DueRuns


@dataclass(frozen=True, slots=True)
class _NoPool:
    """The pool was not read yet. The Heartbeater tells PollNow when it is."""


@dataclass(frozen=True, slots=True)
class _WorkerStops:
    """There is nothing more to poll for."""


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


Message = Poll | PollNow | _Answered | _NoPool | _WorkerStops | _Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerView:
    """What the Poller shows of itself."""

    trouble: str | None
    """Why the last poll failed; None: it did not."""


class Poller(AsyncioActor):
    """Owns: the polling rhythm (_ticker), _search and _trouble (why the last poll failed).

    A restarted Poller polls at once. Before each poll it asks the Guardian whether the worker
    still takes runs, the Heartbeater for the pool, and the Dispatcher for its capacity.
    """

    def __init__(
        self,
        settings: PollSettings,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        rng: random.Random,
        heartbeater: Address,
        dispatcher: Address,
        health: Address,
        guardian: Address,
    ) -> None:
        super().__init__(clock=clock)
        self._settings = settings
        self._orchestrator = orchestrator
        self._clock = clock
        self._rng = rng
        self._heartbeater = heartbeater
        self._dispatcher = dispatcher
        self._health = health
        self._guardian = guardian
        self._search = RunSearch(
            pool=settings.pool,
            queues=settings.queues,
            pause_seconds=settings.query_seconds,
            orchestrator=orchestrator,
            clock=clock,
        )
        self._ticker: Ticker | None = None
        self._trouble = LogOnce()

    def inspect(self) -> PollerView:
        return PollerView(trouble=self._trouble.reported)

    def on_start(self) -> None:
        """Poll at once."""
        self._ticker = self.every(self._pause, Poll())

    def on_receive(self, message: Message) -> None:
        """One message at a time; waits come back as messages."""
        assert self._ticker is not None, "messages come after on_start"
        match message:
            case Poll():
                self._poll()
            case PollNow():
                self._ticker.wake()
            case _Answered(due=due):
                self._answered(due)
            case _NoPool():
                self._ticker.rearm()
            case _WorkerStops():
                self._ticker.cancel()
                self._health.tell(PollingOver())
            case _Failed(error=error):
                self._failed(error)
                self._ticker.rearm(self._pause())
            case _:
                assert_never(message)

    def _pause(self) -> float:
        return jittered(self._settings.query_seconds, self._rng)

    def _poll(self) -> None:
        assert self._ticker is not None
        self._ticker.hold()
        self.pipe(self._ask(), on_result=lambda answer: answer, on_error=_Failed)

    async def _ask(self) -> _Answered | _NoPool | _WorkerStops:
        stage = await self._guardian.request(CurrentStage(), timeout=None)
        if stage is not Stage.WORKING:
            return _WorkerStops()
        known = await self._heartbeater.request(CurrentPool(), timeout=ASK_TIMEOUT_SECONDS)
        if known is None:
            return _NoPool()
        asked_at = self._clock.monotonic()
        capacity = await self._dispatcher.request(CurrentCapacity(), timeout=ASK_TIMEOUT_SECONDS)
        before = self._clock.now() + timedelta(seconds=self._settings.prefetch_seconds)
        found = await self._search.find(
            capacity, pool=known.pool, queues=known.queues, before=before
        )
        pool = await self._fresh_pool(known.pool) if found.runs else known.pool
        due = DueRuns(runs=found.runs, pool=pool, asked_at=asked_at, shares=found.shares)
        return _Answered(due)

    async def _fresh_pool(self, known: WorkPool) -> WorkPool:
        """The template may have been changed since the last heartbeat."""
        try:
            pool = await self._orchestrator.read_work_pool(self._settings.pool)
        except OrchestratorError:
            return known
        return pool if pool.base_job_template else known

    def _answered(self, due: DueRuns) -> None:
        if self._trouble.resolve():
            log.info("poll.recovered", pool=self._settings.pool)
        self._health.tell(Polled(due=len(due.runs)))
        if due.runs:
            self._dispatcher.tell(due)
        if self._settings.once:
            self._health.tell(PollingOver())
            self._guardian.tell(RoundEnded(Round.POLL))
        elif self._ticker is not None:
            self._ticker.rearm()

    def _failed(self, error: Exception) -> None:
        self._health.tell(PollFailed(cause=str(error)))
        if self._settings.once:
            self._guardian.tell(FatalError(error=error))
            return
        self._trouble.log_failure(
            log,
            "poll.failed",
            error,
            expected=(ActorDeadError, Timeout),
            pool=self._settings.pool,
        )
