"""A run's way in: claim, prepare, spawn."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import takewhile
from typing import Final

from ...domain.exit_status import crash_message
from ...domain.model import Aborted, Accepted, Rejected, State, StateType, Verdict, Wait
from ...domain.record import Phase, Reason
from ...domain.worker_events import EventKind
from . import effects
from .proposals import (
    cancelled,
    crashed,
    is_pending_by,
    put_back,
    running,
    scheduled,
    submitting,
    unrunnable,
)
from .stimuli import Prepared
from .turn import Turn

# -- claim -----------------------------------------------------------------------------------


DEPLOYMENT_GONE: Final = "Deployment not found."
"""Why a server aborts the claim of a run that nobody can run any more."""


def claim_answered(turn: Turn, verdict: Verdict) -> None:
    """Go on with a run that is ours; leave it alone otherwise.

    One whose deployment is gone would be offered again with every poll.
    """
    if isinstance(verdict, Aborted) and verdict.reason == DEPLOYMENT_GONE:
        turn.remark(logging.ERROR, "Cancelling: this flow run's deployment no longer exists.")
        turn.record = replace(turn.record, reason=Reason.COULD_NOT_START)
        turn.report(unrunnable(turn.record))
    elif not is_ours(verdict):
        _leave_alone(turn, _why_not(verdict))
    elif may_have_been_over(verdict):
        turn.do(effects.ReadHistory())
    else:
        _claimed(turn)


def claim_failed(turn: Turn, *, was_refused: bool) -> None:
    """Leave a run that the server does not let us have; look at it after a bug."""
    if was_refused:
        turn.settle()
    else:
        turn.check_state()


def history_seen(turn: Turn, states: tuple[State, ...]) -> None:
    """Put an end back that our late claim has overwritten: another worker was faster."""
    record = turn.record
    if record.phase is not Phase.CLAIMING:
        return
    before = list(takewhile(lambda state: state.transition_id != record.claim, states))
    if before and before[-1].type.is_terminal:
        turn.remark_locally(f"Another worker had ended this flow run ({before[-1].name}).")
        turn.record = replace(record, reason=None, cancelling=None)
        turn.report(put_back(record, before[-1]))
    else:
        _claimed(turn)


def state_seen_after_a_failed_claim(turn: Turn, state: State | None) -> None:
    """A claim that the server took all the same would leave the run Pending for ever."""
    if state is None or not is_pending_by(turn.record.claim, state):
        _leave_alone(turn, "its claim has failed")
    else:
        claim_answered(turn, Accepted(state=state))


def _leave_alone(turn: Turn, why: str) -> None:
    turn.remark_locally(f"Not starting this flow run: {why}")
    turn.record = replace(turn.record, reason=None)
    turn.settle()


def _claimed(turn: Turn) -> None:
    if turn.is_to_end:
        end_unstarted(turn)
    elif turn.run.failure is not None:
        never_started(turn, turn.run.failure)
    elif turn.run.to_give_back:
        turn.report(scheduled(turn.record))
    else:
        turn.record = replace(turn.record, phase=Phase.PREPARING)
        turn.do(effects.Introduce(), effects.PrepareJob())


def give_back_wanted(turn: Turn) -> None:
    """Give the run back, now or once it turns out to be ours."""
    turn.run = replace(turn.run, to_give_back=True)
    if turn.record.phase is Phase.PREPARING:
        turn.report(scheduled(turn.record))


# -- prepare ---------------------------------------------------------------------------------


def prepared(turn: Turn, job: Prepared) -> None:
    """Start the job, or wait until it is due."""
    if turn.record.phase is not Phase.PREPARING:
        return
    turn.record = replace(turn.record, job=job.job, related=job.related)
    turn.run = replace(turn.run, says_submitting=job.says_submitting)
    for level, text in job.remarks:
        turn.remark(level, text)
    if job.due_in > 0:
        turn.remark(
            logging.INFO, f"The command waits {job.due_in:.1f} s until the flow run is due."
        )
        turn.do(effects.WaitUntilDue(seconds=job.due_in))
    elif turn.run.adopted or job.says_submitting:
        _look(turn)
    else:
        _spawn(turn)


def could_not_prepare(turn: Turn, cause: str, *, deployment_missing: bool) -> None:
    """Cancel a run whose deployment is gone, as Prefect's worker does from 3.7 on.

    Nobody can ever run it, so it is not a crash. Every other cause is one.
    """
    if turn.record.phase is not Phase.PREPARING:
        return
    if deployment_missing:
        state = State(type=StateType.CANCELLED, name="Cancelled", message=cause)
        turn.remark(logging.ERROR, cause)
        turn.record = replace(turn.record, reason=Reason.COULD_NOT_START)
        turn.report(cancelled(turn.record, state))
    else:
        never_started(turn, cause)


def due(turn: Turn) -> None:
    """Look at the run first: it has waited, and somebody may have cancelled it meanwhile."""
    if turn.record.phase is Phase.PREPARING:
        _look(turn)


def _look(turn: Turn) -> None:
    """Submitting takes the place of a look: the answer shows the run as it is then."""
    if turn.run.says_submitting:
        turn.propose(submitting(turn.record))
    else:
        turn.check_state()


def state_seen_before_start(turn: Turn, state: State | None) -> None:
    """Start the run if it is still Pending by our claim."""
    if state is None:
        _leave_alone(turn, "it was deleted")
    elif not is_pending_by(turn.record.claim, state):
        _leave_alone(turn, f"it is {state.name} by now")
    elif turn.run.to_give_back:
        turn.report(scheduled(turn.record))
    else:
        _spawn(turn)


# -- spawn -----------------------------------------------------------------------------------


def _spawn(turn: Turn) -> None:
    if turn.record.job is not None:
        turn.record = replace(turn.record, phase=Phase.SPAWNING, submitted_at=turn.now)
        turn.run = replace(turn.run, tree_gone=False)
        turn.do(effects.Emit(kind=EventKind.SUBMITTED), effects.Spawn())


def spawned(turn: Turn, pid: int) -> None:
    """Tell where the process is, and end it at once if it is to end already."""
    if turn.record.phase is not Phase.SPAWNING:
        return
    turn.record = replace(turn.record, phase=Phase.RUNNING, pid=pid, started_at=turn.now)
    turn.do(effects.TellPid(pid=pid), effects.AddLabels())
    job = turn.record.job
    name = "" if job is None or job.name is None else f" ({job.name})"
    turn.remark(logging.INFO, f"Process {pid}{name} started.")
    if turn.is_to_end:
        turn.end_tree()
        return
    if turn.worker_reports_states:
        report = running(turn.record)
        turn.record = replace(turn.record, report=report)
        turn.propose(report)
    turn.start_timeout()


def offered_again(turn: Turn, seconds_ago: float) -> None:
    """Say once that a run which was resumed, or rescheduled, waits for its own process."""
    started = turn.record.started_at
    if turn.record.phase is not Phase.RUNNING or started is None or turn.run.offered_again:
        return
    if (turn.now - started).total_seconds() > seconds_ago:
        turn.run = replace(turn.run, offered_again=True)
        turn.remark(
            logging.WARNING,
            f"This flow run is scheduled again while its process {turn.record.pid} is there. It "
            "is started again once that has ended.",
        )


def could_not_spawn(turn: Turn, cause: str) -> None:
    """No process was started."""
    if turn.record.phase is Phase.SPAWNING:
        turn.run = replace(turn.run, tree_gone=True)
        never_started(turn, cause)


def never_started(turn: Turn, cause: str) -> None:
    """Report a run that was to start and could not, for ``cause``."""
    if turn.is_to_end:
        end_unstarted(turn)
        return
    turn.record = replace(turn.record, reason=Reason.COULD_NOT_START)
    message = crash_message(Reason.COULD_NOT_START, None, (), cause=cause)
    turn.remark(logging.ERROR, message)
    turn.report(crashed(turn.record, message))


def end_unstarted(turn: Turn) -> None:
    """Report a run that is to end before it has a process."""
    record = turn.record
    if record.cancelling is not None:
        turn.report(cancelled(record, record.cancelling))
    elif record.reason is Reason.DELETED:
        turn.settle()
    elif record.reason is not None:
        turn.report(crashed(record, crash_message(record.reason, None, ())))


# -- verdicts on a claim ---------------------------------------------------------------------


def is_ours(verdict: Verdict) -> bool:
    """Whether the run is Pending by our claim.

    The server rejects a repeated claim whose first copy it took, with the Pending state of that;
    over another worker's Pending it aborts.
    """
    return isinstance(verdict, Accepted | Rejected) and verdict.state.type is StateType.PENDING


def may_have_been_over(verdict: Verdict) -> bool:
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
