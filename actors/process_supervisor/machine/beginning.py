"""A run's way in: claim, prepare, spawn."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import takewhile

from ...domain.exit_status import crash_message
from ...domain.model import Aborted, Accepted, Rejected, State, StateType, Verdict, Wait
from ...domain.record import Phase, Reason
from .effects import (
    AddLabels,
    Emit,
    EventKind,
    Prepare,
    ReadHistory,
    Remark,
    Spawn,
    TellPid,
    WaitUntilDue,
)
from .proposals import cancelled, crashed, put_back, running, scheduled
from .stimuli import Prepared
from .turn import Turn


class Beginning(Turn):
    """From the answer to a claim to a process, or to the word that there will be none."""

    def _claim_answered(self, verdict: Verdict) -> None:
        if not _is_ours(verdict):
            self._not_ours(_why_not(verdict))
        elif _may_have_been_over(verdict):
            self._do(ReadHistory())
        else:
            self._claimed()

    def _history_seen(self, states: tuple[State, ...]) -> None:
        """Put an end back that our late claim has overwritten: another worker was faster."""
        if self._record.phase is not Phase.CLAIMING:
            return
        claim = self._record.claim
        before = list(takewhile(lambda state: state.transition_id != claim, states))
        if before and before[-1].type.is_terminal:
            self._remark_locally(f"Another worker had ended this flow run ({before[-1].name}).")
            self._save(reason=None, cancelling=None)
            self._report(put_back(self._record, before[-1]))
        else:
            self._claimed()

    def _seen_after_a_failed_claim(self, state: State | None) -> None:
        """If the server took it, the run would stay Pending for ever without us."""
        if state is None or not self._is_pending_by_us(state):
            self._not_ours("its claim has failed")
        elif self.run.failure is not None:
            self._never_started(self.run.failure)
        else:
            self._claim_answered(Accepted(state=state))

    def _is_pending_by_us(self, state: State) -> bool:
        ours = (self._record.claim, None)
        return state.type is StateType.PENDING and state.transition_id in ours

    def _not_ours(self, why: str) -> None:
        self._remark_locally(f"Not starting this flow run: {why}")
        self._save(reason=None)
        self._over()

    def _remark_locally(self, text: str) -> None:
        """It may well be running at another worker, so its log there is left alone."""
        self._do(Remark(level=logging.INFO, text=text, local=True))

    def _claimed(self) -> None:
        if self._record.cancelling is not None or self._record.reason is not None:
            self._never_started_on_purpose()
        elif self.run.given_up:
            self._report(scheduled(self._record))
        else:
            self._save(phase=Phase.PREPARING)
            self._do(Prepare())

    def _given_up(self) -> None:
        self.run = replace(self.run, given_up=True)
        if self._record.phase is Phase.PREPARING:
            self._report(scheduled(self._record))

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
        elif self.run.adopted:
            self._check_state()
        else:
            self._due()

    def _due_at_last(self) -> None:
        """It has waited, and may have been cancelled by somebody meanwhile."""
        if self._record.phase is Phase.PREPARING:
            self._check_state()

    def _seen_before_its_start(self, state: State | None) -> None:
        if state is None:
            self._not_ours("it was deleted")
        elif self._is_pending_by_us(state):
            self._due()
        else:
            self._not_ours(f"it is {state.name} by now")

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
        job = self._record.job
        named = "" if job is None or job.name is None else f" ({job.name})"
        self._remark(logging.INFO, f"Process {pid}{named} started.")
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
        if self._record.cancelling is not None or self._record.reason is not None:
            self._never_started_on_purpose()
            return
        self._save(reason=Reason.COULD_NOT_START)
        message = crash_message(Reason.COULD_NOT_START, None, (), cause=cause)
        self._remark(logging.ERROR, message)
        self._report(crashed(self._record, message))


def _is_ours(verdict: Verdict) -> bool:
    """Whether the run is Pending by our claim.

    A rejected claim with a Pending state answers a repeat whose first copy was taken; somebody
    else's Pending is answered by an abort (contract 6.3, 6.4).
    """
    return isinstance(verdict, Accepted | Rejected) and verdict.state.type is StateType.PENDING


def _may_have_been_over(verdict: Verdict) -> bool:
    """Whether the run was not Scheduled when it became Pending by our claim.

    A server takes Pending over Completed, Failed and Crashed, but only a Scheduled state hands
    its time on (its core policy, rule CopyScheduledTime).
    """
    state = None if isinstance(verdict, Wait) else verdict.state
    return state is not None and not state.details.get("scheduled_time")


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
