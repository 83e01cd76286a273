"""Starts the services, keeps them alive within a budget, and ends the worker's life in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import structlog

from .domain.errors import WorkerError
from .domain.model import Resource, WorkerEvent, WorkPool
from .domain.policy import Backoff, OnDeadline
from .domain.ports import Clock
from .domain.worker_events import Preceding, started, stopped
from .messages.batches import EmitEvent
from .messages.lifetime import (
    CurrentStage,
    Deadline,
    Drain,
    EndAllRuns,
    FatalError,
    Idle,
    LeaveAllRuns,
    OnlyReports,
    Reexec,
    Round,
    RoundEnded,
    Stage,
)
from .messages.pool import PoolSynced
from .messages.runs import Finish
from .runtime import Address, ChildSpec, Directory, RestartBudget, Supervisor

log = structlog.get_logger("actors.guardian")

BUDGET = RestartBudget(intensity=10, period_seconds=60.0)
"""Restarts of services before the worker gives up: a bug that strikes every few seconds."""

LAST_REPORTS_SECONDS = 30.0
"""How long the server may take to hear of runs that were ended; then the journal keeps it."""

GIVING_BACK_SECONDS = 5.0
"""How long the server may take to hear of runs that were claimed and not started."""

BACKOFF = Backoff(initial=0.1, ceiling=5.0)


class Guardian(Supervisor):
    """Owns: the services (through Supervisor), _draining, _pool, _started and _rounds.

    It ends by a stop when all is done, or by a failure that says why the worker had to give up:
    the error of a FatalError, or BudgetExhausted when a service keeps failing.
    """

    expected_failures = (WorkerError,)

    def __init__(
        self,
        children: Iterable[ChildSpec],
        *,
        directory: Directory,
        clock: Clock,
        worker: Resource,
        new_id: Callable[[], str],
        drain_seconds: float | None = None,
        on_deadline: OnDeadline = OnDeadline.TERMINATE,
        poller: Address,
        dispatcher: Address,
        event_emitter: Address,
        service_reporter: Address,
    ) -> None:
        super().__init__(
            children, budget=BUDGET, directory=directory, backoff=BACKOFF.bare_delay, clock=clock
        )
        self._clock = clock
        self._worker = worker
        self._new_id = new_id
        self._drain_seconds = drain_seconds
        self._on_deadline = on_deadline
        self._poller = poller
        self._dispatcher = dispatcher
        self._event_emitter = event_emitter
        self._service_reporter = service_reporter
        self._pool: WorkPool | None = None
        self._started: WorkerEvent | None = None
        self._reexec = False
        self._draining = False
        self._ending = False
        self._rounds: set[Round] = set()

    async def on_stop(self) -> None:
        """Say so while there is somebody to deliver it, then stop the services."""
        if not self._reexec:  # the program that is executed next is the same worker
            self._say_stopped()
        await super().on_stop()

    def on_receive(self, message: Any) -> Stage | None:
        """The worker's way from start to end."""
        match message:
            case PoolSynced(pool=pool):
                self._pool = pool
                self._say_started()
            case Drain():
                self._drain()
            case Deadline():
                self._deadline()
            case RoundEnded(what=what):
                self._round_ended(what)
            case OnlyReports():
                self.after(LAST_REPORTS_SECONDS, Idle())
            case Idle():
                self.stop()
            case Reexec():
                log.info("worker.stepping_aside", hint="Runs go on with the keeper.")
                self._reexec = True
                self._service_reporter.tell(message)
                self.stop()
            case CurrentStage():
                return Stage.DRAINING if self._draining else Stage.WORKING
            case FatalError(error=error):
                raise error
            case _:
                super().on_receive(message)
        return None

    async def _start_child(self, spec: ChildSpec) -> None:
        """A service that is started again hears what its predecessor was told."""
        await super()._start_child(spec)
        if self._draining:
            self._poller.tell(Drain())
            self._dispatcher.tell(Drain())
        if self._rounds == set(Round):
            self._dispatcher.tell(Finish())
        if self._ending:
            self._dispatcher.tell(EndAllRuns())

    def _round_ended(self, what: Round) -> None:
        """A run-once worker has nothing more to begin when it has done everything once."""
        self._rounds.add(what)
        if self._rounds == set(Round):
            self._dispatcher.tell(Finish())

    def _drain(self) -> None:
        """Take nothing new and wait; the second order of this kind is the deadline."""
        if self._draining:
            return
        self._draining = True
        log.info("worker.draining", drain_seconds=self._drain_seconds)
        self._service_reporter.tell(Drain())
        self._poller.tell(Drain())
        self._dispatcher.tell(Drain())
        if self._drain_seconds is not None:
            self.after(self._drain_seconds, Deadline())

    def _deadline(self) -> None:
        self._drain()
        if self._on_deadline is OnDeadline.TERMINATE:
            log.warning("worker.ending_runs", hint="Runs that are still there are ended.")
            self._ending = True
            self._dispatcher.tell(EndAllRuns())
        else:
            log.warning("worker.leaving_runs", hint="The keeper holds them for the next worker.")
            self._dispatcher.tell(LeaveAllRuns())
            self.after(GIVING_BACK_SECONDS, Idle())

    def _say_started(self) -> None:
        if self._started is None:
            self._started = started(
                self._worker, self._pool, id=self._new_id(), occurred=self._now()
            )
            self._event_emitter.tell(EmitEvent(self._started))

    def _say_stopped(self) -> None:
        if self._started is None:
            return
        before = Preceding(self._started.id, self._started.occurred)
        event = stopped(
            self._worker, self._pool, id=self._new_id(), occurred=self._now(), started=before
        )
        self._event_emitter.tell(EmitEvent(event))

    def _now(self) -> datetime:
        return self._clock.now()
