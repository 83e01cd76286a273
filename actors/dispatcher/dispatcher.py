"""Admits due runs as long as there are slots, and knows every active run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from ..domain.ids import ClaimKey, new_transition_id
from ..domain.ports import Clock, Journal, Launcher
from ..domain.process import MemorySample, ProcessIdentity
from ..domain.record import Reason
from ..domain.run import CancelRun, EndRun, OfferedAgain, new_run
from ..messages.dispatcher import (
    CancelIfOurs,
    Capacity,
    CurrentCapacity,
    CurrentWorkload,
    DropDueRuns,
    DueRuns,
    EndAllRuns,
    LeaveAllRuns,
    ListRuns,
    MemoryLimitedRuns,
    MemoryMeasured,
    RunInfo,
    RunsDeleted,
    RunSettled,
    Workload,
)
from ..messages.guardian import Stage, WorkloadFell
from ..messages.poller import PollNow
from ..messages.process_supervisor import (
    GiveBack,
    MemoryUsed,
    SupervisorStart,
)
from ..messages.services import Peers
from ..runtime import AsyncioActor, AsyncioRef, shut_down
from .active_runs import ActiveRuns, StartSupervisor, SupervisorEnded
from .admission import AdmissionControl
from .permit import Checked, Permit
from .takeover import KeeperAnswered, Resume, Takeover

log = structlog.get_logger("actors.dispatcher")

STOP_SECONDS = 2.0
"""How long a supervisor may take to stop; it has nothing to wait for."""


@dataclass(frozen=True, slots=True)
class _GivingBack:
    keys: frozenset[ClaimKey]


Reply = Capacity | Workload | bool | tuple[RunInfo, ...] | Mapping[ClaimKey, ProcessIdentity]


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherView:
    """What the Dispatcher shows of itself."""

    runs: tuple[RunInfo, ...]
    slots_free: int | None
    """None: there is no limit."""
    keeper_answered: bool


class Dispatcher(AsyncioActor):
    """Owns:

    - ``_runs``: the table of active runs, and so the slots;
    - ``_admission``: which runs to admit, and which the server refused lately;
    - ``_permit``: whether runs may be admitted at all;
    - ``_takeover``: what is to be resumed;
    - ``_postponed``: a poll's runs until they can be admitted;
    - ``_giving_back``: None until LeaveAllRuns, then the claims that supervisors give back.

    A restarted Dispatcher rebuilds the table from the supervisors that are alive, the journal's
    open records, and the keeper's table, which may hold runs whose records were lost. It does not
    know the refusals any more. Whether the worker drains or ends its runs it asks the Guardian.
    """

    def __init__(
        self,
        *,
        limit: int | None,
        memory_pause_percent: float,
        worker: str,
        journal: Journal,
        launcher: Launcher,
        clock: Clock,
        rng: random.Random,
        start_supervisor: StartSupervisor,
        alive_supervisors: Callable[[], list[AsyncioRef]],
        peers: Peers,
    ) -> None:
        super().__init__()
        self._limit = limit
        self._worker = worker
        self._clock = clock
        self._rng = rng
        self._alive_supervisors = alive_supervisors
        self._peers = peers
        self._runs = ActiveRuns(self, start_supervisor, clock)
        self._admission = AdmissionControl(limit=limit, memory_pause_percent=memory_pause_percent)
        self._takeover = Takeover(
            self,
            self._runs,
            limit=limit,
            worker=worker,
            journal=journal,
            launcher=launcher,
            clock=clock,
            rng=rng,
            peers=peers,
        )
        self._permit = Permit(journal=journal, peers=peers)
        self._postponed: DueRuns | None = None
        self._giving_back: frozenset[ClaimKey] | None = None

    def inspect(self) -> DispatcherView:
        return DispatcherView(
            runs=self._runs.infos,
            slots_free=self._admission.slots_free(self._runs.usage),
            keeper_answered=self._takeover.has_keeper_answered,
        )

    async def on_start(self) -> None:
        """Take over the runs that are there: first the living supervisors', then the journal's."""
        await self._takeover.adopt(self._alive_supervisors())

    async def on_stop(self) -> None:
        """An orderly stop takes the supervisors along; their runs stay with the keeper.

        After a failure they go on, and the next Dispatcher finds them.
        """
        refs = [active.supervisor for active in self._runs]
        await asyncio.gather(*(shut_down(ref, STOP_SECONDS) for ref in refs))

    def on_receive(self, message: object) -> Reply | None:
        """Facts and orders change the table, questions are answered from it."""
        match message:
            case DueRuns():
                self._postponed = message
                self._admit_postponed()
            case Checked():
                self._checked(message)
            case RunInfo():
                if self._runs.change(message):
                    self._slot_freed()
            case RunSettled(key=key, reason=reason):
                self._settled(key, reason)
            case MemoryMeasured(sample=sample):
                self._memory_measured(sample)
            case MemoryLimitedRuns():
                return self._runs.memory_limited
            case CurrentCapacity():
                self._check()  # while the server answers the poll
                return self._admission.capacity(self._runs.usage, now=self._clock.monotonic())
            case CurrentWorkload():
                return self._workload()
            case ListRuns():
                return self._runs.infos
            case CancelIfOurs(run_id=run_id, state=state):
                claims = self._runs.of_run(run_id)
                for active in claims:
                    active.supervisor.tell_if_alive(CancelRun(state=state))
                return bool(claims)
            case RunsDeleted(run_ids=run_ids):
                for active in self._runs:
                    if active.info.run.id in run_ids:
                        active.supervisor.tell_if_alive(EndRun(reason=Reason.DELETED))
            case DropDueRuns():
                self._postponed = None
                self._permit.withdraw()
                self._peers.guardian.tell(WorkloadFell())
            case EndAllRuns() | Stage.ENDING:
                for active in self._runs:
                    active.supervisor.tell_if_alive(EndRun(reason=Reason.WORKER_STOPPED))
                self._peers.guardian.tell(WorkloadFell())
            case Stage():
                self._peers.guardian.tell(WorkloadFell())
            case LeaveAllRuns():
                self.pipe(self._give_back(), on_result=_GivingBack)
            case _GivingBack(keys=keys):
                self._giving_back = keys
                self._peers.guardian.tell(WorkloadFell())
            case KeeperAnswered(runs=runs):
                self._takeover.keeper_answered(runs)
                self._admit_postponed()
            case SupervisorEnded():
                self._takeover.supervisor_ended(message)
            case Resume():
                self._takeover.resume(message)
            case _:
                super().on_receive(message)
        return None

    # -- admit -----------------------------------------------------------------------------------

    def _check(self) -> None:
        if (check := self._permit.check()) is not None:
            self.pipe(check, on_result=lambda checked: checked)

    def _checked(self, checked: Checked) -> None:
        if self._permit.checked(checked):
            self._admit_postponed()
        else:
            self._postponed = None
            self._peers.guardian.tell(WorkloadFell())

    def _admit_postponed(self) -> None:
        """Admit what a poll brought, once the keeper has answered and there is a permit."""
        due = self._postponed
        if due is None or not self._takeover.has_keeper_answered:
            return
        if not self._permit.take():
            self._check()
            return
        self._postponed = None
        admitted = self._admission.admit(due, self._runs.usage, now=self._clock.monotonic())
        if admitted.limit_reached:
            log.info("limit.reached", limit=self._limit, in_hand=len(self._runs))
        for run in admitted.runs:
            fresh = new_run(run, worker=self._worker, transition=new_transition_id(self._rng))
            self._runs.supervise(SupervisorStart(fresh, due.pool, due.asked_at))
        asked = OfferedAgain(seconds_ago=self._clock.monotonic() - due.asked_at)
        for active in self._runs:
            if active.info.run.id in self._admission.offered_again:
                active.supervisor.tell_if_alive(asked)
        self._peers.guardian.tell(WorkloadFell())

    def _memory_measured(self, sample: MemorySample) -> None:
        """A machine that is short of memory gets no more runs. Polls go on all the same."""
        for active in self._runs:
            if active.info.key in sample.runs:
                used = MemoryUsed(used_bytes=sample.runs[active.info.key])
                active.supervisor.tell_if_alive(used)
        if not self._admission.measured(sample):
            return
        percent = round(sample.host_percent, 1)
        if self._admission.is_short_of_memory:
            log.warning(
                "intake.paused",
                memory_percent=percent,
                threshold_percent=self._admission.memory_pause_percent,
                hint="Memory is nearly used up: no run is taken until there is more.",
            )
        else:
            log.info("intake.resumed", memory_percent=percent)
            self._peers.poller.tell(PollNow())

    # -- free ------------------------------------------------------------------------------------

    def _slot_freed(self) -> None:
        if self._admission.left_promising_waiting:
            self._peers.poller.tell(PollNow())
        self._peers.guardian.tell(WorkloadFell())

    def _settled(self, key: ClaimKey, reason: Reason | None) -> None:
        self._takeover.settled(key)
        active = self._runs.of_claim(key)
        if active is None:
            return
        self._runs.drop(key)
        was_refused = reason is None
        now = self._clock.monotonic()
        self._admission.settled(active.info.run.id, was_refused=was_refused, now=now)
        self._slot_freed()
        if active.info.run.id in self._admission.offered_again:
            self._peers.poller.tell(PollNow())
        if self._admission.left_some_waiting and not was_refused:  # its deployment has room again
            self._peers.poller.tell(PollNow())

    # -- end -------------------------------------------------------------------------------------

    async def _give_back(self) -> frozenset[ClaimKey]:
        runs = list(self._runs)
        answers = await asyncio.gather(
            *(active.supervisor.request(GiveBack(), timeout=None) for active in runs),
            return_exceptions=True,
        )
        return frozenset(
            active.info.key for active, answer in zip(runs, answers, strict=True) if answer is True
        )

    def _workload(self) -> Workload:
        if self._giving_back is None:
            knows_all = self._takeover.has_keeper_answered
            is_idle = knows_all and not self._runs and self._postponed is None
        else:
            is_idle = all(self._runs.of_claim(key) is None for key in self._giving_back)
        return Workload(is_idle=is_idle, processes=self._runs.processes)
