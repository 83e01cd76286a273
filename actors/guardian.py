"""Starts the services, keeps them alive within a budget, and ends the worker's life in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from .domain.errors import WorkerError
from .domain.model import Resource, WorkerEvent, WorkPool
from .domain.policy import Backoff, OnDeadline
from .domain.ports import Clock
from .domain.worker_events import started, stopped
from .messages.dispatcher import CurrentWorkload, DropDueRuns, EndAllRuns, LeaveAllRuns, Workload
from .messages.guardian import (
    CurrentStage,
    Deadline,
    Drain,
    FatalError,
    Reexec,
    Round,
    RoundEnded,
    Stage,
    WorkloadFell,
)
from .messages.heartbeater import PoolSynced
from .messages.poller import PollNow
from .messages.services import Peers
from .runtime import ChildSpec, Directory, RestartBudget, Supervisor, Timer

log = structlog.get_logger("actors.guardian")

BUDGET = RestartBudget(intensity=10, period_seconds=60.0)
"""Restarts of services before the worker gives up: a bug that strikes every few seconds."""

LAST_REPORTS_SECONDS = 30.0
"""How long the server may take to hear of runs that were ended; then the journal keeps it."""

GIVING_BACK_SECONDS = 5.0
"""How long the server may take to hear of runs that were claimed and not started."""

BACKOFF = Backoff(initial=0.1, ceiling=5.0)


@dataclass(frozen=True, slots=True)
class _GiveUpWaiting:
    """The server has had its time to hear of what became of the runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardianView:
    """What the Guardian shows of itself."""

    stage: Stage
    rounds: frozenset[Round]


class Guardian(Supervisor):
    """Owns: the services (through Supervisor), _stage (where in its life the worker is), _rounds
    (what a run-once worker has done), _reexec and _started (the event of the start).

    It is not restarted. It ends by a stop when all is done, or by a failure that says why the
    worker had to give up: the error of a FatalError, or BudgetExhausted when a service keeps
    failing.
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
        on_started: Callable[[], None],
        peers: Peers,
    ) -> None:
        super().__init__(children, budget=BUDGET, directory=directory, backoff=BACKOFF.bare_delay)
        self._clock = clock
        self._worker = worker
        self._new_id = new_id
        self._drain_seconds = drain_seconds
        self._on_deadline = on_deadline
        self._on_started = on_started
        self._peers = peers
        self._stage = Stage.WORKING
        self._rounds: frozenset[Round] = frozenset()
        self._reexec = False
        self._started: WorkerEvent | None = None
        self._last_reports: Timer | None = None

    def inspect(self) -> GuardianView:
        return GuardianView(stage=self._stage, rounds=self._rounds)

    async def on_stop(self) -> None:
        """Emit the stop while there is an actor to deliver it, then stop the services."""
        if not self._reexec:  # the next program goes on as the same worker
            self._emit_stopped()
        await super().on_stop()

    def on_receive(self, message: Any) -> Stage | None:
        match message:
            case PoolSynced(pool=pool):
                self._emit_started(pool)
            case Drain():
                self._drain()
            case Deadline():
                self._deadline()
            case RoundEnded(what=what):
                self._rounds |= {what}
                self._ask_workload()
            case WorkloadFell():
                self._ask_workload()
            case Workload():
                self._judge(message)
            case Exception():
                pass  # the next Dispatcher tells WorkloadFell when it has taken over
            case _GiveUpWaiting():
                self.stop()
            case Reexec():
                log.info("worker.stepping_aside", hint="Runs go on with the keeper.")
                self._reexec = True
                self._peers.service_notifier.tell(message)
                self.stop()
            case CurrentStage():
                return self._stage
            case FatalError(error=error):
                raise error
            case _:
                super().on_receive(message)
        return None

    @property
    def _has_nothing_to_begin(self) -> bool:
        """It drains, or it is a run-once worker that has done everything once."""
        return self._stage is not Stage.WORKING or self._rounds == set(Round)

    def _ask_workload(self) -> None:
        if self._has_nothing_to_begin:
            self.pipe(
                self._peers.dispatcher.request(CurrentWorkload(), timeout=None),
                on_result=lambda workload: workload,
                on_error=lambda error: error,
            )

    def _judge(self, workload: Workload) -> None:
        """A claim that the server does not answer holds a slot, but is nothing to wait for."""
        if workload.is_idle:
            self.stop()
        elif self._stage is Stage.ENDING and not workload.processes and not self._last_reports:
            self._last_reports = self.after(LAST_REPORTS_SECONDS, _GiveUpWaiting())

    def _drain(self) -> None:
        """Take nothing new and wait; the second order of this kind is the deadline."""
        if self._stage is not Stage.WORKING:
            return
        self._stage = Stage.DRAINING
        log.info("worker.draining", drain_seconds=self._drain_seconds)
        self._peers.service_notifier.tell(Drain())
        self._peers.poller.tell(PollNow())  # it asks for the stage, and polls no more
        self._peers.dispatcher.tell(DropDueRuns())
        if self._drain_seconds is not None:
            self.after(self._drain_seconds, Deadline())

    def _deadline(self) -> None:
        self._drain()
        if self._on_deadline is OnDeadline.TERMINATE:
            log.warning("worker.ending_runs", hint="Runs that are still there are ended.")
            self._stage = Stage.ENDING
            self._peers.dispatcher.tell(EndAllRuns())
        else:
            log.warning("worker.leaving_runs", hint="The keeper holds them for the next worker.")
            self._peers.dispatcher.tell(LeaveAllRuns())
            self.after(GIVING_BACK_SECONDS, _GiveUpWaiting())

    def _emit_started(self, pool: WorkPool) -> None:
        if self._started is None:
            now = self._clock.now()
            self._started = started(self._worker, pool, id=self._new_id(), occurred=now)
            self._peers.event_emitter.tell(self._started)
            self._on_started()

    def _emit_stopped(self) -> None:
        if self._started is not None:
            event = stopped(self._started, id=self._new_id(), occurred=self._clock.now())
            self._peers.event_emitter.tell(event)
