"""Admits due runs as long as there are slots, and knows every active run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from ..domain.ids import ClaimKey, new_transition_id
from ..domain.ports import Clock, Journal, Launcher
from ..domain.process import KeptRun, MemorySample, ProcessIdentity
from ..domain.record import Phase, Reason, RunRecord
from ..domain.run import new_run
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
    RunSettled,
    Workload,
)
from ..messages.guardian import Stage, WorkloadFell
from ..messages.poller import PollNow
from ..messages.process_supervisor import (
    CancelRun,
    CurrentRun,
    EndRun,
    GiveBack,
    MemoryUsed,
    SupervisorStart,
)
from ..messages.services import Peers
from ..runtime import AsyncioActor, AsyncioRef, shut_down
from .active_runs import ActiveRun, ActiveRuns
from .admission import AdmissionControl
from .permit import Checked, Permit
from .takeover import Resume, Takeover, within_limit

log = structlog.get_logger("actors.dispatcher")

STOP_SECONDS = 2.0
"""How long a supervisor may take to stop; it has nothing to wait for."""

StartSupervisor = Callable[[SupervisorStart], AsyncioRef]
"""Starts a run's supervisor; given by the composition root."""


@dataclass(frozen=True, slots=True)
class _SupervisorEnded:
    key: ClaimKey
    failure: BaseException | None


@dataclass(frozen=True, slots=True)
class _KeeperAnswered:
    runs: list[KeptRun]


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
        self._start_supervisor = start_supervisor
        self._alive_supervisors = alive_supervisors
        self._peers = peers
        self._runs = ActiveRuns()
        self._admission = AdmissionControl(limit=limit, memory_pause_percent=memory_pause_percent)
        self._takeover = Takeover(
            worker=worker, journal=journal, launcher=launcher, clock=clock, rng=rng
        )
        self._permit = Permit(journal=journal, peers=peers)
        self._postponed: DueRuns | None = None
        self._giving_back: frozenset[ClaimKey] | None = None

    def inspect(self) -> DispatcherView:
        return DispatcherView(
            runs=self._runs.infos,
            slots_free=self._admission.slots_free(self._runs.usage),
            keeper_answered=self._takeover.keeper_answered,
        )

    async def on_start(self) -> None:
        """Take over the runs that are there: first the living supervisors', then the journal's."""
        await self._adopt_existing_runs()

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
                self._changed(message)
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
            case _KeeperAnswered(runs=runs):
                self._keeper_answered(runs)
            case _SupervisorEnded(key=key, failure=failure):
                self._supervisor_ended(key, failure)
            case Resume(key=key, record=record):
                self._resume(key, record)
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
        if due is None or not self._takeover.keeper_answered:
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
            self._supervise(SupervisorStart(fresh, due.pool, due.asked_at))
        self._peers.guardian.tell(WorkloadFell())

    def _supervise(self, start: SupervisorStart) -> None:
        self._put(RunInfo.of(start.run), self._start_supervisor(start))

    def _put(self, info: RunInfo, ref: AsyncioRef) -> None:
        self._runs.put(ActiveRun(info=info, supervisor=ref, since=self._clock.monotonic()))
        self.watch(ref, lambda failure: _SupervisorEnded(info.key, failure))

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

    def _changed(self, info: RunInfo) -> None:
        active = self._runs.of_claim(info.key)
        if active is None:
            return
        self._runs.put(replace(active, info=info))
        if active.info.holds_slot and not info.holds_slot:
            self._slot_freed()

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
            is_idle = not self._runs and self._postponed is None and self._takeover.keeper_answered
        else:
            is_idle = all(self._runs.of_claim(key) is None for key in self._giving_back)
        return Workload(is_idle=is_idle, processes=self._runs.processes)

    # -- take over -------------------------------------------------------------------------------

    async def _adopt_existing_runs(self) -> None:
        refs = self._alive_supervisors()
        answers = await asyncio.gather(
            *(ref.request(CurrentRun(), timeout=None) for ref in refs), return_exceptions=True
        )
        for ref, answer in zip(refs, answers, strict=True):
            if isinstance(answer, RunInfo):
                self._put(answer, ref)
        recorded = await self._takeover.recorded()
        orphans = [run for run in recorded if self._runs.of_claim(run.record.key) is None]
        for run in within_limit(orphans, self._admission.slots_free(self._runs.usage)):
            self._supervise(SupervisorStart(run))
        # It may know runs whose records were lost. Until it answers nothing is admitted.
        self.pipe(self._takeover.keepers_runs(), on_result=_KeeperAnswered)

    def _keeper_answered(self, kept: list[KeptRun]) -> None:
        active = {info.key for info in self._runs.infos}
        for run in self._takeover.keeper_answered_with(kept, active):
            self._supervise(SupervisorStart(run))
        self._admit_postponed()
        self._ask_stage()

    def _ask_stage(self) -> None:
        """A run that was resumed must end if the worker ends its runs."""
        self.pipe(self._peers.stage(), on_result=lambda stage: stage)

    def _supervisor_ended(self, key: ClaimKey, failure: BaseException | None) -> None:
        active = self._runs.of_claim(key)
        if active is None or failure is None:
            return
        pause = self._takeover.supervisor_failed(active, failure)
        if pause is None:
            self._settled(key, None)  # held back for a while, as after a refusal
        else:
            reading = self._takeover.read_record(active.info, after_seconds=pause)
            self.pipe(reading, on_result=lambda resume: resume)

    def _resume(self, key: ClaimKey, record: RunRecord | None) -> None:
        active = self._runs.of_claim(key)
        if active is None:
            return
        if record is not None and record.phase is Phase.OVER:  # the supervisor failed at the end
            self._settled(key, record.reason)
            return
        start = self._takeover.next_start(record, active.info)
        if self._limit is not None and self._runs.usage.slots_in_use > self._limit:
            start = replace(start, run=replace(start.run, given_up=start.run.is_unstarted))
        self._supervise(start)
        self._ask_stage()
