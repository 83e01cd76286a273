"""The life of a run, as a pure state machine: (run, stimulus) -> (run, effects).

The supervisor carries the effects out and comes back with what happened. The record in
:class:`Run` is saved before the effects of a step, so a successor that reads it resumes where its
predecessor died: it says :class:`~.stimuli.Adopted` and the machine asks again for whatever was
under way. Every effect bears being asked for twice: a claim keeps its transition id, the keeper
starts one process per key, the server answers a repeated report as a repeat.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from .effects import (
    AddLabels,
    CheckState,
    Effect,
    Emit,
    EndTree,
    EventKind,
    FreeSlot,
    Prepare,
    Propose,
    Remark,
    Settle,
    Spawn,
    StartTimeout,
    TellPid,
    WaitUntilDue,
)
from .exit_status import BY_SIGKILL, crash_message, explain
from .ids import ClaimKey, FlowId, FlowRunId, TransitionId, claim_key
from .model import (
    Aborted,
    Accepted,
    FlowRun,
    Proposal,
    Rejected,
    State,
    StateType,
    Verdict,
    Wait,
)
from .process import ExitStatus
from .proposals import cancelled, claim, crashed, outcome, running
from .record import Limits, Phase, Reason, RunRecord
from .stimuli import (
    Adopted,
    Answered,
    Begun,
    CancelWanted,
    CouldNotPrepare,
    CouldNotSpawn,
    Due,
    EndWanted,
    Exited,
    Prepared,
    Spawned,
    StateSeen,
    Stimulus,
    Unanswerable,
    Vacated,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its supervisor holds it: what is recorded, and what can be found out again."""

    record: RunRecord
    holds_slot: bool = True
    tree_gone: bool = True
    """Whether no process of it is left (or was ever started)."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Run:
        """What a successor knows before it has asked the keeper: the worst is assumed."""
        started = record.phase in (Phase.SPAWNING, Phase.RUNNING, Phase.REPORTING)
        return cls(
            record=record,
            holds_slot=record.phase is not Phase.REPORTING,
            tree_gone=not started,
        )

    @property
    def is_claiming(self) -> bool:
        """Whether it is not known yet if the run is ours."""
        return self.record.phase is Phase.CLAIMING

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.record.phase is Phase.OVER


def new_run(run: FlowRun, *, worker: str, transition: TransitionId) -> Run:
    """A run about to be claimed by ``worker`` with ``transition``."""
    return Run(
        record=RunRecord(
            key=claim_key(run.id, transition),
            worker=worker,
            run=run,
            claim=transition,
            phase=Phase.CLAIMING,
        )
    )


def found_run(key: ClaimKey, *, worker: str) -> Run:
    """A run that only the keeper knows of: its record was lost, or a full disk never took it.

    Of the claim's id it knows the beginning; the rest, which the ids of its reports follow from,
    is drawn from the key.
    """
    run_id, _, beginning = key.rpartition(".")
    drawn = str(uuid.uuid5(uuid.NAMESPACE_OID, key))
    run = FlowRun(
        id=FlowRunId(run_id),
        name=run_id,
        flow_id=FlowId(""),
        state=State(type=StateType.PENDING, name="Pending"),
    )
    claim = TransitionId(beginning + drawn[len(beginning) :])
    record = new_run(run, worker=worker, transition=claim).record
    return Run.from_record(replace(record, phase=Phase.SPAWNING))


def step(run: Run, stimulus: Stimulus, *, now: datetime) -> tuple[Run, tuple[Effect, ...]]:
    """Decide what ``stimulus`` means for ``run`` at ``now`` (timezone-aware)."""
    turn = _Turn(run, now)
    turn.take(stimulus)
    return turn.run, tuple(turn.effects)


class _Turn:
    """One step: reads stimuli, rewrites the run, collects effects. Lives no longer than that."""

    def __init__(self, run: Run, now: datetime) -> None:
        self.run = run
        self.now = now
        self.effects: list[Effect] = []

    def take(self, stimulus: Stimulus) -> None:
        match stimulus:
            case Begun():
                self._propose(claim(self._record))
            case Adopted():
                self._adopted(stimulus)
            case Answered(proposal=proposal, verdict=verdict):
                self._answered(proposal, verdict)
            case Unanswerable(proposal=proposal, cause=cause):
                self._unanswerable(proposal, cause)
            case Prepared():
                self._prepared(stimulus)
            case Due():
                self._due()
            case CouldNotPrepare(cause=cause, deployment_missing=missing):
                self._could_not_prepare(cause, deployment_missing=missing)
            case Spawned(pid=pid):
                self._spawned(pid)
            case CouldNotSpawn(cause=cause):
                self._could_not_spawn(cause)
            case Exited(status=status, tail=tail, kernel_kill=kernel_kill):
                self._exited(status, tail, kernel_kill=kernel_kill)
            case Vacated(leftovers=leftovers):
                self._vacated(leftovers)
            case CancelWanted(state=state):
                self._cancel_wanted(state)
            case EndWanted(reason=reason):
                self._end_wanted(reason)
            case StateSeen(state=state):
                self._state_seen(state)
            case _:
                assert_never(stimulus)
        self._settle_if_done()

    # -- the way in: claim, prepare, spawn -------------------------------------------------

    def _answered(self, proposal: Proposal, verdict: Verdict) -> None:
        if proposal.transition_id == self._record.claim:
            if self._record.phase is Phase.CLAIMING:
                self._claim_answered(verdict)
        elif self._record.report is not None and (
            proposal.transition_id == self._record.report.transition_id
        ):
            self._report_answered(self._record.report, verdict)

    def _claim_answered(self, verdict: Verdict) -> None:
        if not _is_ours(verdict):
            # Only said locally: it may well be running at another worker.
            text = f"Not starting this flow run: {_why_not(verdict)}"
            self._do(Remark(level=logging.INFO, text=text, local=True))
            self._over()
        elif self._record.cancelling is not None or self._record.reason is not None:
            self._never_started_on_purpose()
        else:
            self._save(phase=Phase.PREPARING)
            self._do(Prepare())

    def _never_started_on_purpose(self) -> None:
        record = self._record
        if record.cancelling is not None:
            self._report(cancelled(record, record.cancelling))
        elif record.reason is not None:
            self._report(crashed(record, crash_message(record.reason, None, ())))

    def _prepared(self, prepared: Prepared) -> None:
        if self._record.phase is not Phase.PREPARING:
            return
        self._save(job=prepared.job, related=prepared.related)
        if prepared.due_in > 0:
            self._remark(
                logging.INFO,
                f"The command waits {prepared.due_in:.1f} s until the flow run is due.",
            )
            self._do(WaitUntilDue(seconds=prepared.due_in))
        else:
            self._due()

    def _due(self) -> None:
        if self._record.phase is Phase.PREPARING and self._record.job is not None:
            self._save(phase=Phase.SPAWNING, submitted_at=self.now)
            self.run = replace(self.run, tree_gone=False)
            self._do(Emit(kind=EventKind.SUBMITTED), Spawn())

    def _could_not_prepare(self, cause: str, *, deployment_missing: bool) -> None:
        if self._record.phase is not Phase.PREPARING:
            return
        if deployment_missing:
            # As Prefect's worker from 3.7 on: nobody can ever run it, so it is not a crash.
            state = State(type=StateType.CANCELLED, name="Cancelled", message=cause)
            self._remark(logging.ERROR, cause)
            self._save(reason=Reason.COULD_NOT_START)
            self._report(cancelled(self._record, state))
        else:
            self._never_started(cause)

    def _spawned(self, pid: int) -> None:
        if self._record.phase is not Phase.SPAWNING:
            return
        self._save(phase=Phase.RUNNING, pid=pid, started_at=self.now)
        self._do(TellPid(pid=pid), AddLabels())
        self._remark(logging.INFO, f"Process {pid} started.")
        if self._record.cancelling is not None or self._record.reason is not None:
            self._end_tree()
            return
        if self._job_reports_states:
            self._report(running(self._record), phase=Phase.RUNNING)
        self._arm_timeout()

    def _could_not_spawn(self, cause: str) -> None:
        if self._record.phase is not Phase.SPAWNING:
            return
        self.run = replace(self.run, tree_gone=True)
        self._never_started(cause)

    def _never_started(self, cause: str) -> None:
        if self._record.cancelling is not None:
            self._report(cancelled(self._record, self._record.cancelling))
            return
        self._save(reason=Reason.COULD_NOT_START)
        message = crash_message(Reason.COULD_NOT_START, None, (), cause=cause)
        self._remark(logging.ERROR, message)
        self._report(crashed(self._record, message))

    # -- the way out: end, exit, report ----------------------------------------------------

    def _cancel_wanted(self, state: State) -> None:
        record = self._record
        if record.cancelling is not None or record.phase is Phase.OVER:
            return
        if record.job is not None and record.job.uses_runner:
            return  # `prefect flow-run execute` hears of it and cancels by itself
        self._save(cancelling=state)
        if record.phase is Phase.PREPARING:
            self._save(reason=Reason.CANCELLED)
            self._report(cancelled(record, state))
        elif record.phase is Phase.RUNNING:
            self._save(reason=Reason.CANCELLED)
            self._remark(logging.INFO, "Cancelling: ending the process and all it started.")
            self._end_tree()
        elif record.phase is Phase.REPORTING and record.report is None:
            self._report(cancelled(record, state))

    def _end_wanted(self, reason: Reason) -> None:
        record = self._record
        if record.reason is not None:
            return
        if record.phase in (Phase.CLAIMING, Phase.PREPARING, Phase.SPAWNING, Phase.RUNNING):
            self._save(reason=reason)
        if record.phase is Phase.RUNNING:
            self._end_tree()
        elif record.phase is Phase.PREPARING:
            self._report(crashed(record, crash_message(reason, None, ())))

    def _end_tree(self) -> None:
        limits = self._limits
        self._do(
            EndTree(
                signal=limits.kill_signal,
                grace_seconds=limits.grace_seconds,
                announce_cancel=self._record.cancelling is not None,
            )
        )

    def _exited(
        self, status: ExitStatus, tail: tuple[str, ...], *, kernel_kill: bool = False
    ) -> None:
        record = self._record
        if record.phase not in (Phase.SPAWNING, Phase.RUNNING):
            return
        reason = record.reason or _reason_of(status, kernel_kill=kernel_kill)
        self._save(exit=status, reason=reason)
        self._do(Emit(kind=EventKind.EXECUTED))
        explanation = explain(status.code)
        self._remark(explanation.level, f"Process {record.pid}: {explanation.text}")
        if record.cancelling is not None:
            self._report(cancelled(record, record.cancelling))
        elif reason is Reason.EXITED and record.job is None:
            # Who was to report its end is not known; what an engine reported stands.
            cause = "The worker's record of it was lost, so what came of it is not known."
            self._report(crashed(record, crash_message(reason, status, tail, cause=cause)))
        elif reason is Reason.EXITED and not self._job_reports_states:
            self._nothing_to_report()
        elif self._job_reports_states and reason in (Reason.EXITED, Reason.FAILED):
            message = None if reason is Reason.EXITED else crash_message(reason, status, tail)
            self._report(outcome(record, ok=reason is Reason.EXITED, message=message))
        else:
            message = crash_message(reason, status, tail, limits=self._limits)
            self._report(crashed(record, message))

    def _nothing_to_report(self) -> None:
        """A clean exit: the engine has told the server how the flow ended (contract 7.5)."""
        self._save(phase=Phase.REPORTING, report=None)
        self._free_slot()
        job = self._record.job
        if job is not None and not (job.is_engine or job.uses_runner):
            self._do(CheckState())

    def _state_seen(self, state: State) -> None:
        if state.type is StateType.PENDING:
            self._remark(
                logging.WARNING,
                "The command ended well but nothing reported a state, so this flow run stays "
                "Pending. Set the job variable report_states to true to have the worker report "
                "Running at its start and Completed or Failed at its end.",
            )

    def _vacated(self, leftovers: int) -> None:
        if leftovers:
            self._remark(
                logging.WARNING,
                f"Ended {leftovers} process(es) that this flow run had left behind.",
            )
        self.run = replace(self.run, tree_gone=True)

    def _report_answered(self, report: Proposal, verdict: Verdict) -> None:
        if self._record.phase is Phase.RUNNING:  # Running, for a command that reports states
            self._save(report=None)
            return
        state = None if isinstance(verdict, Wait) else verdict.state
        now_at = None if state is None else state.type
        if report.type is StateType.CANCELLED:
            self._cancelled_answered(report, verdict, now_at)
        elif state is not None and now_at is StateType.CANCELLING:
            self._save(cancelling=state)
            self._report(cancelled(self._record, state))
        else:
            if report.type is StateType.CRASHED and isinstance(verdict, Accepted):
                self._remark(logging.INFO, "Reported this flow run as crashed.")
            self._save(report=None)

    def _cancelled_answered(
        self, report: Proposal, verdict: Verdict, now_at: StateType | None
    ) -> None:
        may_force = now_at is StateType.CANCELLING or (
            now_at is StateType.CRASHED and self._record.reason is Reason.CANCELLED
        )
        if isinstance(verdict, Accepted) or now_at is StateType.CANCELLED:
            self._save(report=None)
            self._do(Emit(kind=EventKind.CANCELLED))
            self._remark(logging.INFO, "Cancelled this flow run.")
        elif may_force and not report.force and self._record.cancelling is not None:
            self._report(cancelled(self._record, self._record.cancelling, force=True))
        else:
            self._remark(logging.INFO, "The flow run was over before it could be cancelled.")
            self._save(report=None)

    def _unanswerable(self, proposal: Proposal, cause: str) -> None:
        if proposal.transition_id == self._record.claim:
            if self._record.phase is Phase.CLAIMING:
                self._over()
        elif self._record.report is not None and (
            proposal.transition_id == self._record.report.transition_id
        ):
            self._remark(
                logging.WARNING, f"The server does not take the state {proposal.name}: {cause}"
            )
            self._save(report=None)

    # -- after a crash of the worker ---------------------------------------------------------

    def _adopted(self, adopted: Adopted) -> None:
        """The keeper knows better than the record whether there is a process: disks fill up."""
        record = self._record
        self.run = replace(self.run, tree_gone=adopted.pid is None or adopted.rebooted)
        match record.phase:
            case Phase.CLAIMING | Phase.PREPARING | Phase.SPAWNING if adopted.pid is not None:
                self._save(phase=Phase.SPAWNING, pid=adopted.pid)
                if adopted.rebooted:
                    self._ended_unseen(Reason.MACHINE_RESTARTED)
                else:
                    self._spawned(adopted.pid)
            case Phase.CLAIMING:
                self._propose(claim(record))
            case Phase.PREPARING | Phase.SPAWNING if record.cancelling or record.reason:
                self._never_started_on_purpose()
            case Phase.PREPARING | Phase.SPAWNING:
                self._save(phase=Phase.PREPARING)
                self._do(Prepare())
            case Phase.RUNNING if adopted.rebooted or adopted.pid is None:
                self._ended_unseen(Reason.MACHINE_RESTARTED if adopted.rebooted else Reason.LOST)
            case Phase.RUNNING:
                self._resume_running()
            case Phase.REPORTING:
                if record.report is not None:
                    self._propose(record.report)
            case Phase.OVER:
                pass

    def _ended_unseen(self, reason: Reason) -> None:
        self._save(reason=self._record.reason or reason)
        self._exited(ExitStatus(code=None), ())

    def _resume_running(self) -> None:
        record = self._record
        if record.pid is not None:
            self._do(TellPid(pid=record.pid))
        if record.report is not None:
            self._propose(record.report)
        if record.cancelling is not None or record.reason is not None:
            self._end_tree()
        else:
            self._arm_timeout()

    # -- small parts ---------------------------------------------------------------------------

    @property
    def _record(self) -> RunRecord:
        return self.run.record

    @property
    def _limits(self) -> Limits:
        return self._record.job.limits if self._record.job else Limits()

    @property
    def _job_reports_states(self) -> bool:
        return self._record.job is not None and self._record.job.report_states

    def _arm_timeout(self) -> None:
        seconds, started = self._limits.timeout_seconds, self._record.started_at
        if seconds is not None and started is not None:
            left = seconds - (self.now - started).total_seconds()
            self._do(StartTimeout(seconds=max(0.0, left)))

    def _report(self, proposal: Proposal, *, phase: Phase = Phase.REPORTING) -> None:
        self._save(phase=phase, report=proposal)
        if phase is Phase.REPORTING:
            self._free_slot()
        self._propose(proposal)

    def _propose(self, proposal: Proposal) -> None:
        self._do(Propose(proposal=proposal))

    def _free_slot(self) -> None:
        if self.run.holds_slot:
            self.run = replace(self.run, holds_slot=False)
            self._do(FreeSlot())

    def _remark(self, level: int, text: str) -> None:
        self._do(Remark(level=level, text=text))

    def _settle_if_done(self) -> None:
        done = self._record.phase is Phase.REPORTING and self._record.report is None
        if done and self.run.tree_gone:
            self._over()

    def _over(self) -> None:
        self._free_slot()
        self._save(phase=Phase.OVER, report=None)
        self._do(Settle(reason=self._record.reason))

    def _do(self, *effects: Effect) -> None:
        self.effects.extend(effects)

    def _save(self, **changes: Any) -> None:
        self.run = replace(self.run, record=replace(self._record, **changes))


def _is_ours(verdict: Verdict) -> bool:
    """Whether the run is Pending by our claim.

    A rejected claim with a Pending state answers a repeat whose first copy was taken; somebody
    else's Pending is answered by an abort (contract 6.3, 6.4).
    """
    return isinstance(verdict, Accepted | Rejected) and verdict.state.type is StateType.PENDING


def _why_not(verdict: Verdict) -> str:
    match verdict:
        case Aborted(reason=reason):
            return reason or "the server aborted the transition"
        case Wait(reason=reason):
            return reason or "the server asks to wait"
        case Accepted(state=state):
            return f"the server put it in state {state.name}"
        case Rejected(state=state, reason=reason):
            return f"the server put it in state {state.name}" + (f" ({reason})" if reason else "")


def _reason_of(status: ExitStatus, *, kernel_kill: bool) -> Reason:
    if status.lost:
        return Reason.LOST
    if kernel_kill and status.code in BY_SIGKILL:
        return Reason.OUT_OF_MEMORY_KERNEL
    return Reason.EXITED if status.code == 0 else Reason.FAILED
