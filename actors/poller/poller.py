"""Asks the server for due runs, in a rhythm, and hands them to the Dispatcher."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

import structlog

from ..domain.errors import OrchestratorError
from ..domain.log_once import Complaint
from ..domain.model import WorkPool, WorkQueue
from ..domain.policy import jittered
from ..domain.ports import Clock, Orchestrator
from ..failed_requests import log_failure
from ..messages.health import Polled, PollFailed, PollingOver
from ..messages.lifetime import Drain, FatalError, Round, RoundEnded, Tick
from ..messages.pool import CurrentPool, PoolSynced
from ..messages.runs import CurrentIntake, DueRuns, PollNow
from ..runtime import Address, AsyncioActor, Ticker
from .run_search import Found, RunSearch

log = structlog.get_logger("actors.poller")

ASK_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PollSettings:
    """What to poll, and how often. Defaults are Prefect's (contract 16).

    ``queues`` empty means all queues of the pool. ``query_seconds`` is the mean pause between
    polls, ``prefetch_seconds`` how early a run may be taken. ``once``: a single poll.
    """

    pool: str
    queues: tuple[str, ...] = ()
    query_seconds: float = 10.0
    prefetch_seconds: float = 10.0
    once: bool = False


@dataclass(frozen=True, slots=True)
class _Answered:
    found: Found
    asked_at: float
    pool: WorkPool | None = None
    """The pool as of this poll, where that could be read."""


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


Message = PoolSynced | Tick | PollNow | Drain | _Answered | _Failed


class Poller(AsyncioActor):
    """Owns: the polling rhythm (_ticker), _search and its complaint about the server.

    The pool it passes on is the Heartbeater's last word; a restarted Poller asks for it.
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
        self._pool: WorkPool | None = None
        self._queues: tuple[WorkQueue, ...] = ()
        self._search = RunSearch(
            pool=settings.pool,
            queues=settings.queues,
            pause_seconds=settings.query_seconds,
            orchestrator=orchestrator,
            clock=clock,
        )
        self._draining = False
        self._ticker: Ticker | None = None
        self._complaint = Complaint()

    def on_start(self) -> None:
        """A successor need not wait for the next sync to learn of the pool."""
        self._ticker = self.every(self._pause, Tick())
        self.pipe(
            self._heartbeater.request(CurrentPool(), timeout=ASK_TIMEOUT_SECONDS),
            on_result=lambda pool: PollNow() if pool is None else PoolSynced(pool=pool),
            on_error=lambda _: PollNow(),
        )

    def on_receive(self, message: Message) -> None:
        """One message at a time; waits come back as messages."""
        match message:
            case PoolSynced(pool=pool, queues=queues):
                first, self._pool, self._queues = self._pool is None, pool, queues
                if first:
                    self._wake()
            case Tick():
                self._poll()
            case PollNow():
                self._wake()
            case _Answered():
                self._take(message)
            case _Failed(error=error):
                self._complain(error)
            case Drain():
                self._draining = True
                self._health.tell(PollingOver())
                if self._ticker is not None:
                    self._ticker.cancel()
            case _:
                assert_never(message)

    def _pause(self) -> float:
        return jittered(self._settings.query_seconds, self._rng)

    def _wake(self) -> None:
        if self._ticker is not None and self._pool is not None:
            self._ticker.wake()

    def _poll(self) -> None:
        if self._pool is not None and self._ticker is not None:
            self._ticker.hold()
            asking = self._ask(self._pool, self._queues)
            self.pipe(asking, on_result=lambda answered: answered, on_error=_Failed)

    async def _ask(self, known_pool: WorkPool, queues: tuple[WorkQueue, ...]) -> _Answered:
        asked_at = self._clock.monotonic()
        intake = await self._dispatcher.request(CurrentIntake(), timeout=ASK_TIMEOUT_SECONDS)
        before = self._clock.now() + timedelta(seconds=self._settings.prefetch_seconds)
        found = await self._search.find(intake, pool=known_pool, queues=queues, before=before)
        pool = await self._fresh_pool() if found.runs else None
        return _Answered(found, asked_at, pool)

    async def _fresh_pool(self) -> WorkPool | None:
        """The template may have been changed since the last heartbeat."""
        try:
            return await self._orchestrator.read_work_pool(self._settings.pool)
        except OrchestratorError:
            return None

    def _take(self, answered: _Answered) -> None:
        runs = answered.found.runs
        if self._complaint.settle():
            log.info("poll.recovered", pool=self._settings.pool)
        self._health.tell(Polled(due=len(runs)))
        # A claim answered while draining is still run; a poll answered then is not acted upon.
        if runs and self._pool is not None and not self._draining:
            pool = (
                answered.pool if answered.pool and answered.pool.base_job_template else self._pool
            )
            due = DueRuns(
                runs=runs, pool=pool, asked_at=answered.asked_at, shares=answered.found.shares
            )
            self._dispatcher.tell(due)
        if self._settings.once:
            self._health.tell(PollingOver())
            self._guardian.tell(RoundEnded(Round.POLL))
        elif self._ticker is not None:
            self._ticker.rearm()

    def _complain(self, error: Exception) -> None:
        self._health.tell(PollFailed(cause=str(error)))
        if self._settings.once:
            self._guardian.tell(FatalError(error=error))
            return
        log_failure(log, "poll.failed", error, self._complaint, pool=self._settings.pool)
        if self._ticker is not None:
            self._ticker.rearm(self._pause())
