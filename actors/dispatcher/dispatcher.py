"""Admits due runs as long as there are slots, and knows every active run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from ..domain.errors import bug_in_words
from ..domain.ids import ClaimKey, new_transition_id
from ..domain.ports import Clock, Journal, Launcher
from ..domain.process import KeptRun, MemorySample, ProcessIdentity
from ..domain.record import Phase, Reason, RunRecord
from ..domain.run import new_run
from ..messages.dispatcher import (
    CancelIfOurs,
    Capacity,
    ClaimAnswered,
    CurrentCapacity,
    CurrentWorkload,
    DropDueRuns,
    DueRuns,
    EndAllRuns,
    LeaveAllRuns,
    ListRuns,
    MemoryLimited,
    MemoryLimitedRuns,
    MemoryMeasured,
    RunInfo,
    RunSettled,
    SlotFreed,
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

KEEPER_PAUSE_SECONDS = 1.0
"""Between two questions to a keeper that does not answer."""

StartSupervisor = Callable[[SupervisorStart], AsyncioRef]
"""Starts a run's supervisor; given by the composition root."""


@dataclass(frozen=True, slots=True)
class _SupervisorEnded:
    key: ClaimKey
    failure: BaseException | None


@dataclass(frozen=True, slots=True)
class _AskKeeper:
    """The keeper is to be asked again."""


@dataclass(frozen=True, slots=True)
class _KeeperAnswered:
    runs: list[KeptRun]


@dataclass(frozen=True, slots=True)
class _KeeperSilent:
    error: Exception


@dataclass(frozen=True, slots=True)
class _RecordRead:
    """What the journal has of a run whose supervisor failed; None: nothing."""

    resume: Resume
    record: RunRecord | None


@dataclass(frozen=True, slots=True)
class _RecordUnread:
    resume: Resume
    error: Exception


@dataclass(frozen=True, slots=True)
class _StageKnown:
    stage: Stage


@dataclass(frozen=True, slots=True)
class _GivingBack:
    keys: frozenset[ClaimKey]


Message = (
    DueRuns
    | ClaimAnswered
    | SlotFreed
    | RunSettled
    | MemoryLimited
    | MemoryMeasured
    | MemoryLimitedRuns
    | CurrentCapacity
    | CurrentWorkload
    | ListRuns
    | CancelIfOurs
    | DropDueRuns
    | EndAllRuns
    | LeaveAllRuns
    | Resume
    | _SupervisorEnded
    | _AskKeeper
    | _KeeperAnswered
    | _KeeperSilent
    | _RecordRead
    | _RecordUnread
    | Checked
    | _StageKnown
    | _GivingBack
)
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
        self._memory_pause_percent = memory_pause_percent
        self._worker = worker
        self._journal = journal
        self._launcher = launcher
        self._clock = clock
        self._rng = rng
        self._start_supervisor = start_supervisor
        self._alive_supervisors = alive_supervisors
        self._peers = peers
        self._runs = ActiveRuns()
        self._admission = AdmissionControl(limit=limit, memory_pause_percent=memory_pause_percent)
        self._takeover = Takeover(worker=worker, journal=journal, rng=rng)
        self._postponed: DueRuns | None = None
        self._permit = Permit(journal=journal, peers=peers)
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

    def on_receive(self, message: Message) -> Reply | None:
        """Facts and orders change the table, questions are answered from it."""
        match message:
            case DueRuns():
                self._postponed = message
                self._consider_postponed()
            case Checked():
                self._checked(message)
            case ClaimAnswered(key=key):
                self._runs.claim_answered(key)
            case SlotFreed(key=key):
                self._free(key)
                self._tell_if_less_to_do()
            case RunSettled(key=key, reason=reason):
                self._settled(key, reason)
            case MemoryLimited(key=key, process=process):
                self._runs.limit_memory(key, process)
            case MemoryMeasured(sample=sample):
                self._memory_measured(sample)
            case MemoryLimitedRuns():
                return self._runs.memory_limited
            case CurrentCapacity():
                return self._capacity()
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
                self._tell_if_less_to_do()
            case EndAllRuns():
                self._end_all()
            case LeaveAllRuns():
                self.pipe(self._give_back(), on_result=_GivingBack)
            case _GivingBack(keys=keys):
                self._giving_back = keys
                self._tell_if_less_to_do()
            case _SupervisorEnded(key=key, failure=failure):
                self._supervisor_ended(key, failure)
            case Resume():
                self.pipe(
                    self._journal.record(message.key),
                    on_result=lambda record: _RecordRead(message, record),
                    on_error=lambda error: _RecordUnread(message, error),
                )
            case _RecordRead(resume=resume, record=record):
                self._takeover.record_read(resume)
                self._resume(resume.key, record, resume.cause)
            case _RecordUnread(resume=resume, error=error):
                self._record_unread(resume, error)
            case _AskKeeper():
                self._ask_keeper()
            case _KeeperAnswered(runs=runs):
                self._keeper_answered(runs)
            case _StageKnown(stage=stage):
                if stage is Stage.ENDING:
                    self._end_all()
                else:
                    self._tell_if_less_to_do()
            case _KeeperSilent(error=error):
                self._takeover.keeper_silent(error)
                self.after(KEEPER_PAUSE_SECONDS, _AskKeeper())
            case _:
                assert_never(message)
        return None

    # -- admit -----------------------------------------------------------------------------------

    def _capacity(self) -> Capacity:
        """While the server answers the poll, find out whether its runs may be admitted."""
        capacity = self._admission.capacity(self._runs.usage, now=self._clock.monotonic())
        self._permit.take()  # an earlier poll's permit has lapsed
        if capacity.slots_free != 0:
            self._check()
        return capacity

    def _check(self) -> None:
        if (check := self._permit.check()) is not None:
            self.pipe(check, on_result=lambda checked: checked)

    def _checked(self, checked: Checked) -> None:
        if self._permit.checked(checked):
            self._consider_postponed()
        else:
            self._postponed = None
            self._tell_if_less_to_do()

    def _consider_postponed(self) -> None:
        """Admit what a poll brought, once the keeper has answered and there is a permit."""
        due = self._postponed
        if due is None or not self._takeover.keeper_answered:
            return
        if not self._admission.candidates(due, self._runs.usage, now=self._clock.monotonic()):
            self._admit_postponed()  # admits none, and notes what was left waiting
        elif self._permit.take():
            self._admit_postponed()
            self._tell_if_less_to_do()
        else:
            self._check()

    def _admit_postponed(self) -> None:
        due, self._postponed = self._postponed, None
        if due is None:
            return
        usage = self._runs.usage
        admitted = self._admission.admit(due, usage, now=self._clock.monotonic())
        if admitted.limit_reached:
            log.info("limit.reached", limit=self._limit, in_hand=len(self._runs))
        for run in admitted.runs:
            fresh = new_run(run, worker=self._worker, transition=new_transition_id(self._rng))
            self._supervise(SupervisorStart(fresh, due.pool, due.asked_at))

    def _supervise(self, start: SupervisorStart) -> None:
        record = start.run.record
        info = RunInfo(
            key=record.key,
            run=record.run,
            claim=record.claim,
            holds_slot=start.run.holds_slot,
            claimed=not start.run.is_claiming,
        )
        self._put(info, self._start_supervisor(start))

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
                threshold_percent=self._memory_pause_percent,
                hint="Memory is nearly used up: no run is taken until there is more.",
            )
        else:
            log.info("intake.resumed", memory_percent=percent)
            self._peers.poller.tell(PollNow())

    # -- free ------------------------------------------------------------------------------------

    def _free(self, key: ClaimKey) -> None:
        self._runs.slot_freed(key)
        if self._admission.left_promising_waiting:
            self._peers.poller.tell(PollNow())

    def _settled(self, key: ClaimKey, reason: Reason | None) -> None:
        self._takeover.settled(key)
        active = self._runs.of_claim(key)
        if active is None:
            return
        self._free(key)
        self._runs.drop(key)
        was_refused = reason is None
        now = self._clock.monotonic()
        self._admission.settled(active.info.run.id, was_refused=was_refused, now=now)
        if self._admission.left_some_waiting and not was_refused:  # its deployment has room again
            self._peers.poller.tell(PollNow())
        self._tell_if_less_to_do()

    def _end_all(self) -> None:
        for active in self._runs:
            active.supervisor.tell_if_alive(EndRun(reason=Reason.WORKER_STOPPED))
        self._tell_if_less_to_do()

    async def _give_back(self) -> frozenset[ClaimKey]:
        runs = list(self._runs)
        answers = await asyncio.gather(
            *(active.supervisor.request(GiveBack(), timeout=None) for active in runs),
            return_exceptions=True,
        )
        return frozenset(
            active.info.key for active, answer in zip(runs, answers, strict=True) if answer is True
        )

    def _tell_if_less_to_do(self) -> None:
        if self._giving_back is not None or not self._runs.processes:
            self._peers.guardian.tell(WorkloadFell())

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
        self._ask_keeper()

    def _ask_keeper(self) -> None:
        """It may know runs whose records were lost. Until it answers nothing is admitted."""
        self.pipe(self._launcher.table(), on_result=_KeeperAnswered, on_error=_KeeperSilent)

    def _ask_stage(self) -> None:
        """A run that was resumed must end if the worker ends its runs."""
        self.pipe(self._peers.stage(), on_result=_StageKnown)

    def _keeper_answered(self, kept: list[KeptRun]) -> None:
        active = {info.key for info in self._runs.infos}
        for run in self._takeover.keeper_answered_with(kept, active):
            self._supervise(SupervisorStart(run))
        self._consider_postponed()
        self._ask_stage()

    def _supervisor_ended(self, key: ClaimKey, failure: BaseException | None) -> None:
        active = self._runs.of_claim(key)
        if active is None or failure is None:
            return
        again = self._takeover.supervisor_failed(active, failure, now=self._clock.monotonic())
        if again is None:
            self._settled(key, None)  # held back for a while, as after a refusal
        else:
            self.after(*again)

    def _record_unread(self, resume: Resume, error: Exception) -> None:
        active = self._runs.of_claim(resume.key)
        if active is None:
            return
        again = self._takeover.record_unread(resume, error, active.info)
        if again is None:
            self._resume(resume.key, None, bug_in_words(error))
        else:
            self.after(*again)

    def _resume(self, key: ClaimKey, record: RunRecord | None, cause: str | None) -> None:
        active = self._runs.of_claim(key)
        if active is None:
            return
        if record is not None and record.phase is Phase.OVER:  # the supervisor failed at the end
            self._settled(key, record.reason)
            return
        start = self._takeover.next_start(record, active.info, cause)
        if self._limit is not None and self._runs.usage.slots_in_use > self._limit:
            start = replace(start, run=replace(start.run, given_up=start.run.is_unstarted))
        self._supervise(start)
        self._ask_stage()
