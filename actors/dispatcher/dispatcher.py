"""Admits due runs as long as there are slots, and knows every run in hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

import structlog

from ..domain.errors import StateFolderError
from ..domain.failures import FailureKind, bug_in_words, classify_failure
from ..domain.ids import ClaimKey, new_transition_id
from ..domain.log_once import Complaint
from ..domain.memory import MemorySample
from ..domain.policy import Backoff
from ..domain.ports import Clock, Journal, Launcher
from ..domain.process import KeptRun, ProcessIdentity
from ..domain.record import Phase, Reason, RunRecord
from ..domain.run import Run, found_run, new_run
from ..failed_requests import log_failure
from ..messages.lifetime import Drain, EndAllRuns, Idle, LeaveAllRuns, OnlyReports
from ..messages.runs import (
    CancelIfOurs,
    CancelRun,
    ClaimAnswered,
    CurrentIntake,
    CurrentSituation,
    DueRuns,
    EndRun,
    Finish,
    GiveBack,
    Intake,
    MemoryLimited,
    MemoryLimitedRuns,
    MemoryMeasured,
    MemoryUsed,
    PollNow,
    RunSettled,
    RunsInHand,
    Situation,
    SlotFreed,
    SupervisorEnded,
    SupervisorStart,
)
from ..runtime import Address, AsyncioActor, AsyncioRef, shut_down
from .active_runs import InHand, RunTable
from .door import Door

log = structlog.get_logger("actors.dispatcher")

STOP_SECONDS = 2.0
"""How long a supervisor may take to stop; it has nothing to wait for."""

JOURNAL_SECONDS = 8.0
"""How long the disk may take at the start; a service has little more time to start."""

KEEPER_PAUSE_SECONDS = 1.0
"""Between two questions to a keeper that does not answer."""

READOPTION = Backoff(initial=0.1, ceiling=60.0)

MAX_FAILURES = 10
"""So many supervisors of a run fail in a row, in two minutes, until it is ended."""

STEADY_SECONDS = 600.0
"""A supervisor that fails after so long is the first in a row."""

StartSupervisor = Callable[[SupervisorStart], AsyncioRef]
"""Starts a run's supervisor; given by the composition root."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The keeper's table."""

    runs: list[KeptRun]


@dataclass(frozen=True, slots=True)
class _KeeperSilent:
    error: Exception


@dataclass(frozen=True, slots=True)
class _AskKeeper:
    """The keeper is to be asked again."""


@dataclass(frozen=True, slots=True)
class _GivingBack:
    keys: tuple[ClaimKey, ...]


@dataclass(frozen=True, slots=True)
class _Readopt:
    key: ClaimKey
    cause: str | None
    """Why no more than its end is tried; None: it is resumed."""
    failures: int = 0
    """How often in a row its record could not be read."""


@dataclass(frozen=True, slots=True)
class _RecordRead:
    """What the journal has of a run whose supervisor failed; None: nothing."""

    key: ClaimKey
    record: RunRecord | None
    cause: str | None


@dataclass(frozen=True, slots=True)
class _RecordUnread:
    """The journal could not be asked."""

    tried: _Readopt
    error: Exception


@dataclass(frozen=True, slots=True)
class _DiskChecked:
    """Whether the state folder could be written."""

    error: Exception | None = None


Message = (
    DueRuns
    | ClaimAnswered
    | SlotFreed
    | RunSettled
    | SupervisorEnded
    | Finish
    | Drain
    | EndAllRuns
    | CurrentIntake
    | MemoryLimited
    | MemoryLimitedRuns
    | MemoryMeasured
    | CancelIfOurs
    | RunsInHand
    | _Readopt
    | _RecordRead
    | _RecordUnread
    | _DiskChecked
    | _GivingBack
    | LeaveAllRuns
    | _Kept
    | _KeeperSilent
    | _AskKeeper
)
Reply = Intake | bool | tuple[Situation, ...] | Mapping[ClaimKey, ProcessIdentity] | None


class Dispatcher(AsyncioActor):
    """Owns: _runs (the table of runs in hand, and so the slots) and _door (whom to let in).

    Rebuilt after a restart from the supervisors that are alive, the journal's open records, and
    the keeper's table, which may hold runs whose records were lost.
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
        poller: Address,
        guardian: Address,
    ) -> None:
        super().__init__(clock=clock)
        self._worker = worker
        self._journal = journal
        self._launcher = launcher
        self._clock = clock
        self._rng = rng
        self._start_supervisor = start_supervisor
        self._alive_supervisors = alive_supervisors
        self._poller = poller
        self._guardian = guardian
        self._runs = RunTable()
        self._door = Door(limit=limit, memory_pause_percent=memory_pause_percent, clock=clock)
        self._draining = False
        self._ending = False
        self._giving_back: set[ClaimKey] | None = None
        self._keeper_asked = False
        self._settled_early: set[ClaimKey] = set()  # the keeper's answer may be older than this
        self._postponed: DueRuns | None = None
        self._checking_disk = False
        self._complaint = Complaint()
        self._unread = Complaint()

    def on_start(self) -> Any:
        """Take over the runs that are there: first the living supervisors', then the journal's."""
        return self._take_over()

    def on_stop(self) -> Any:
        """An orderly stop takes the supervisors along; their runs stay with the keeper.

        After a failure they go on, and the next Dispatcher finds them.
        """
        return self._stop_supervisors()

    async def _stop_supervisors(self) -> None:
        refs = [held.supervisor for held in self._runs]
        await asyncio.gather(*(shut_down(ref, STOP_SECONDS, clock=self._clock) for ref in refs))

    async def _take_over(self) -> None:
        refs = self._alive_supervisors()
        answers = await asyncio.gather(
            *(ref.request(CurrentSituation(), timeout=None) for ref in refs),
            return_exceptions=True,
        )
        for ref, answer in zip(refs, answers, strict=True):
            if isinstance(answer, Situation):
                self._keep(self._in_hand(answer, ref))
        for record in await self._read_journal():
            if self._runs.of_claim(record.key) is None:
                self._supervise(SupervisorStart(Run.from_record(record)))
        self._ask_keeper()

    async def _read_journal(self) -> list[RunRecord]:
        try:
            async with asyncio.timeout(JOURNAL_SECONDS):
                return await self._journal.open_records()
        except TimeoutError:
            raise StateFolderError(
                f"The state folder was not read in {JOURNAL_SECONDS:g} s: is its disk stuck?"
            ) from None

    def _ask_keeper(self) -> None:
        """It may know runs whose records were lost. Until it answers nothing is admitted."""
        self.pipe(self._launcher.table(), on_result=_Kept, on_error=_KeeperSilent)

    def _find_strays(self, kept: list[KeptRun]) -> None:
        for run in kept:
            if self._runs.of_claim(run.key) is None and run.key not in self._settled_early:
                log.error("run.found", key=run.key, hint="Its record is missing; it is adopted.")
                self._supervise(SupervisorStart(found_run(run.key, worker=self._worker)))
        self._keeper_asked = True
        self._settled_early.clear()
        self._consider_postponed()
        self._say_if_idle()

    def on_receive(self, message: Message) -> Reply:
        """Facts and orders change the table, questions are answered from it."""
        match message:
            case DueRuns():
                if not self._draining:
                    self._postponed = message
                    self._consider_postponed()
            case _DiskChecked(error=error):
                self._disk_checked(error)
            case ClaimAnswered(key=key):
                self._runs.change(key, claimed=True)
            case SlotFreed(key=key):
                self._free(key)
            case RunSettled(key=key, reason=reason):
                self._settled(key, reason)
            case SupervisorEnded(key=key, failure=failure):
                self._supervisor_ended(key, failure)
            case _Readopt(key=key, cause=cause):
                self.pipe(
                    self._journal.record(key),
                    on_result=lambda record: _RecordRead(key, record, cause),
                    on_error=lambda error: _RecordUnread(message, error),
                )
            case _RecordUnread(tried=tried, error=error):
                self._record_unread(tried, error)
            case _RecordRead(key=key, record=record, cause=cause):
                if self._unread.settle():
                    log.info("run.read", key=key)
                self._readopt(key, record, cause)
            case _Kept(runs=runs):
                self._find_strays(runs)
            case _KeeperSilent(error=error):
                if self._complaint.raise_(str(error)):
                    log.warning("keeper.silent", error=str(error))
                self.after(KEEPER_PAUSE_SECONDS, _AskKeeper())
            case _AskKeeper():
                self._ask_keeper()
            case CurrentIntake():
                return self._door.intake(self._runs)
            case MemoryLimited(key=key, process=process):
                self._runs.change(key, memory_limited=process)
            case MemoryLimitedRuns():
                return self._runs.memory_limited
            case MemoryMeasured(sample=sample):
                self._memory_measured(sample)
            case CancelIfOurs(run_id=run_id, state=state):
                claims = self._runs.of_run(run_id)
                for held in claims:
                    held.supervisor.tell_if_alive(CancelRun(state=state))
                return bool(claims)
            case RunsInHand():
                return tuple(held.situation for held in self._runs)
            case EndAllRuns():
                self._ending = True
                for held in self._runs:
                    self._end(held.supervisor)
                self._say_if_only_reports()
            case LeaveAllRuns():
                self._draining = True
                self.pipe(self._give_back(), on_result=_GivingBack)
            case _GivingBack(keys=keys):
                self._giving_back = {key for key in keys if self._runs.of_claim(key)}
                self._say_if_given_back()
            case Drain():
                self._postponed = None
                self._drain()
            case Finish():
                self._drain()
            case _:
                assert_never(message)
        return None

    # -- in --------------------------------------------------------------------------------

    def _memory_measured(self, sample: MemorySample) -> None:
        for held in self._runs:
            if held.situation.key in sample.runs:
                used = MemoryUsed(used_bytes=sample.runs[held.situation.key])
                held.supervisor.tell_if_alive(used)
        if self._door.measured(sample):
            self._poll_now()

    def _poll_now(self) -> None:
        if not self._draining:
            self._poller.tell(PollNow())

    def _consider_postponed(self) -> None:
        """Admit what the last poll brought, once keeper and disk have answered.

        What cannot be written down is not claimed: its process could not be recorded either. A
        disk that is stuck gives no answer, and nothing is claimed.
        """
        due = self._postponed
        if due is None or not self._keeper_asked or self._checking_disk:
            return
        if self._door.wanted(due, self._runs):
            self._checking_disk = True
            checking = self._journal.check()
            self.pipe(checking, on_result=lambda _: _DiskChecked(), on_error=_DiskChecked)
        else:
            self._postponed = None
            self._admit(due)

    def _disk_checked(self, error: Exception | None) -> None:
        if error is not None and not isinstance(error, StateFolderError):
            raise error
        self._checking_disk = False
        self._door.disk_checked(error)
        due, self._postponed = self._postponed, None
        if due is not None and error is None:
            self._admit(due)
        self._say_if_idle()

    def _admit(self, due: DueRuns) -> None:
        for run in self._door.choose(due, self._runs):
            fresh = new_run(run, worker=self._worker, transition=new_transition_id(self._rng))
            self._supervise(SupervisorStart(fresh, due.pool, due.asked_at))

    def _in_hand(self, situation: Situation, ref: AsyncioRef) -> InHand:
        return InHand(situation=situation, supervisor=ref, since=self._clock.monotonic())

    def _supervise(self, start: SupervisorStart, *, failures: int = 0) -> None:
        record = start.run.record
        situation = Situation(
            key=record.key,
            run=record.run,
            claim=record.claim,
            holds_slot=start.run.holds_slot,
            claimed=not start.run.is_claiming,
        )
        ref = self._start_supervisor(start)
        held = self._in_hand(situation, ref)
        self._keep(replace(held, failures=failures, is_given_up=start.failure is not None))
        if self._ending:
            self._end(ref)

    def _keep(self, held: InHand) -> None:
        key = held.situation.key
        self._runs.put(held)
        self.watch(held.supervisor, lambda failure: SupervisorEnded(key=key, failure=failure))

    @staticmethod
    def _end(supervisor: AsyncioRef) -> None:
        supervisor.tell_if_alive(EndRun(reason=Reason.WORKER_STOPPED))

    # -- out -------------------------------------------------------------------------------

    def _free(self, key: ClaimKey) -> None:
        self._runs.change(key, holds_slot=False)
        self._say_if_only_reports()
        if self._door.left_promising_outside:
            self._poll_now()

    def _settled(self, key: ClaimKey, reason: Reason | None) -> None:
        if not self._keeper_asked:
            self._settled_early.add(key)
        held = self._runs.of_claim(key)
        if held is None:
            return
        self._free(key)
        run_id = held.situation.run.id
        self._runs.drop(key)
        was_refused = reason is None
        self._door.settled(run_id, was_refused=was_refused)
        if self._door.left_some_outside and not was_refused:  # its deployment has room again
            self._poll_now()
        self._say_if_idle()
        if self._giving_back is not None:
            self._giving_back.discard(key)
            self._say_if_given_back()

    async def _give_back(self) -> tuple[ClaimKey, ...]:
        held = list(self._runs)
        answers = await asyncio.gather(
            *(one.supervisor.request(GiveBack(), timeout=None) for one in held),
            return_exceptions=True,
        )
        return tuple(
            one.situation.key for one, answer in zip(held, answers, strict=True) if answer is True
        )

    def _say_if_given_back(self) -> None:
        if not self._giving_back:
            self._guardian.tell(Idle())

    def _supervisor_ended(self, key: ClaimKey, failure: BaseException | None) -> None:
        """A supervisor that is gone before its run was settled has failed: the run has not.

        It keeps its slot while a successor reads the journal and resumes, after pauses that grow.
        When too many have failed in a row, the last one ends the run without a look at what may
        have been their stumbling block. Should that fail, too, the next worker finds the record.
        """
        held = self._runs.of_claim(key)
        if held is None or failure is None:
            return
        steady = self._clock.monotonic() - held.since > STEADY_SECONDS
        failures = 1 if steady else held.failures + 1
        self._runs.put(replace(held, failures=failures))
        pause = READOPTION.delay(failures, self._rng)
        line = log.bind(
            flow_run_id=held.situation.run.id,
            flow_run_name=held.situation.run.name,
            error=repr(failure),
            failures=failures,
        )
        if held.is_given_up:
            line.error(
                "run.abandoned", hint="Its record is kept, and the next worker tries again."
            )
            self._settled(key, None)
            return
        line.error("supervisor.failed", resumes_in_seconds=round(pause, 2))
        cause = bug_in_words(failure) if failures >= MAX_FAILURES else None
        self.after(pause, _Readopt(key, cause))

    def _record_unread(self, tried: _Readopt, error: Exception) -> None:
        """It is read again, after pauses that grow. A bug that stays ends the run unread."""
        held = self._runs.of_claim(tried.key)
        if held is None:
            return
        failures = tried.failures + 1
        run_id = held.situation.run.id
        log_failure(log, "run.unread", error, self._unread, flow_run_id=run_id)
        if failures >= MAX_FAILURES and classify_failure(error) is FailureKind.BUG:
            self._readopt(tried.key, None, bug_in_words(error))
        else:
            pause = READOPTION.delay(failures, self._rng)
            self.after(pause, replace(tried, failures=failures))

    def _readopt(self, key: ClaimKey, record: RunRecord | None, cause: str | None) -> None:
        held = self._runs.of_claim(key)
        if held is None:
            return
        known = held.situation
        if record is not None and record.phase is Phase.OVER:  # all was done but saying so
            self._settled(key, record.reason)
            return
        if record is None:
            # A full disk never took it: its claim is enough to find out how far it came.
            log.error("run.unrecorded", flow_run_id=known.run.id)
            record = new_run(known.run, worker=self._worker, transition=known.claim).record
            if known.claimed:  # and so is its process, if it has one
                record = replace(record, phase=Phase.SPAWNING)
        if cause is not None:
            log.error(
                "run.given_up", flow_run_id=known.run.id, failures=held.failures, cause=cause
            )
        start = SupervisorStart(Run.from_record(record), failure=cause)
        self._supervise(start, failures=held.failures)

    def _drain(self) -> None:
        self._draining = True
        self._say_if_idle()

    def _say_if_only_reports(self) -> None:
        """A claim that the server does not answer holds a slot, but nothing to wait for."""
        if self._ending and not self._runs.processes:
            self._guardian.tell(OnlyReports())

    def _say_if_idle(self) -> None:
        nothing_comes = self._keeper_asked and self._postponed is None
        if self._draining and nothing_comes and not self._runs:
            self._guardian.tell(Idle())
