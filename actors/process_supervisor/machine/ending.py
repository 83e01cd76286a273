"""A run's way out: end, exit, report."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from ...domain.exit_status import BY_SIGKILL, crash_message, explain
from ...domain.model import Aborted, Accepted, Proposal, Rejected, State, StateType, Verdict, Wait
from ...domain.process import ExitStatus
from ...domain.record import Phase, Reason
from ...domain.worker_events import EventKind
from . import hooks
from .effects import Abandon, Emit, Propose
from .proposals import cancelled, crashed, outcome
from .stimuli import Exited, ProposalFailed
from .turn import REPORTS_WITH_OUTPUT, Turn

RUNNER_GRACE_SECONDS: Final = 30.0
"""What Prefect's runner gives a flow from SIGTERM to SIGKILL (its CancellationManager)."""

# -- end -------------------------------------------------------------------------------------


def cancel_wanted(turn: Turn, state: State) -> None:
    """Cancel the run. The grace period is that of its job.

    While it is claimed or spawned only the wish is noted: the answer leads on from there.
    """
    record = turn.record
    if record.cancelling is not None or record.phase is Phase.OVER:
        return
    if _runner_cancels(turn) and not _runner_had_its_time(turn):
        return
    turn.record = replace(record, cancelling=state)
    if record.phase is not Phase.REPORTING:
        turn.record = replace(turn.record, reason=Reason.CANCELLED)
    is_over = record.phase is Phase.REPORTING and record.report is None
    if record.phase is Phase.PREPARING or is_over:
        turn.report(cancelled(record, state))
    elif record.phase is Phase.RUNNING:
        turn.remark(logging.INFO, "Cancelling: ending the process and all it started.")
        turn.end_tree()


def _runner_cancels(turn: Turn) -> bool:
    """Whether there is, or was, a process that cancels by itself."""
    job, phase = turn.record.job, turn.record.phase
    return job is not None and job.uses_runner and phase is not Phase.PREPARING


def _runner_had_its_time(turn: Turn) -> bool:
    """Whether ``prefect flow-run execute``, which cancels by itself, seems to hang.

    The runner learns of a cancellation from the server, as the worker does. The first call notes
    the time. Each look at the server calls again while the run is Cancelling: that is the timer.
    """
    since = turn.run.runner_cancels_since
    if since is None:
        turn.run = replace(turn.run, runner_cancels_since=turn.now)
        return False
    seconds = RUNNER_GRACE_SECONDS + turn.record.limits.grace_seconds
    return (turn.now - since).total_seconds() >= seconds


def end_wanted(turn: Turn, reason: Reason) -> None:
    """End the run because the worker wants that. The first reason stays."""
    record = turn.record
    if record.reason is not None:
        return
    if record.phase in (Phase.CLAIMING, Phase.PREPARING, Phase.SPAWNING, Phase.RUNNING):
        turn.record = replace(record, reason=reason)
    if record.phase is Phase.RUNNING:
        if reason is Reason.DELETED:
            turn.remark_locally("The flow run was deleted: ending its process and all it started.")
        turn.end_tree()
    elif record.phase is Phase.PREPARING and reason is Reason.DELETED:
        turn.settle()
    elif record.phase is Phase.PREPARING:
        turn.report(crashed(record, crash_message(reason, None, ())))


# -- exit ------------------------------------------------------------------------------------


def exited(turn: Turn, exit_: Exited) -> None:
    """Find the reason of the exit and report it."""
    record, status = turn.record, exit_.status
    if record.phase not in (Phase.SPAWNING, Phase.RUNNING):
        return
    reason = record.reason or reason_of_exit(status, kernel_kill=exit_.kernel_kill)
    turn.record = replace(record, exit=status, reason=reason)
    turn.run = replace(turn.run, tail_follows=exit_.tail_follows)
    turn.do(Emit(kind=EventKind.EXECUTED))
    if status.reported is not None and status.code != 0:
        turn.remark(
            logging.INFO,
            f"Process {record.pid}: {explain(status.code).summary} Its engine had said before "
            f"what came of this flow run ({status.reported}), and that counts.",
        )
    else:
        explanation = explain(status.code)
        turn.remark(explanation.level, f"Process {record.pid}: {explanation.text}")
    _report_exit(turn, status, reason, exit_.tail)


def reason_of_exit(status: ExitStatus, *, kernel_kill: bool) -> Reason:
    """Returns why a process has ended that the worker did not end."""
    if status.reported is not None:
        return Reason.EXITED
    if status.lost:
        return Reason.LOST
    if kernel_kill and status.code in BY_SIGKILL:
        return Reason.OUT_OF_MEMORY_KERNEL
    return Reason.EXITED if status.code == 0 else Reason.FAILED


def tail_known(turn: Turn, tail: tuple[str, ...]) -> None:
    """Report again with the last lines of output, unless the server has answered the report.

    The transition id stays the same.
    """
    record, waits = turn.record, turn.run.tail_follows
    turn.run = replace(turn.run, tail_follows=False)
    has_output = record.report is not None and record.report.type in REPORTS_WITH_OUTPUT
    if waits and has_output and record.exit is not None and record.reason is not None:
        _report_exit(turn, record.exit, record.reason, tail)


def _report_exit(turn: Turn, status: ExitStatus, reason: Reason, tail: tuple[str, ...]) -> None:
    record = turn.record
    if status.reported is not None or reason is Reason.DELETED:
        _leave_to_engine(turn)
    elif record.cancelling is not None:
        _cancel_ended(turn, record.cancelling)
    elif reason is Reason.EXITED and record.job is None:
        # Without its job it is not known who reports its end. A state that an engine set stays.
        cause = "The worker's record of it was lost, so what came of it is not known."
        turn.report(crashed(record, crash_message(reason, status, tail, cause=cause)))
    elif reason is Reason.EXITED and not turn.worker_reports_states:
        _leave_to_engine(turn)
    elif turn.worker_reports_states and reason in (Reason.EXITED, Reason.FAILED):
        message = None if reason is Reason.EXITED else crash_message(reason, status, tail)
        turn.report(outcome(record, ok=reason is Reason.EXITED, message=message))
    else:
        hooks.want(turn)
        message = crash_message(reason, status, tail, limits=record.limits)
        turn.report(crashed(record, message))


def _cancel_ended(turn: Turn, wish: State) -> None:
    """Report Cancelled, but have hooks run before that the engine cannot have run."""
    if hooks.want(turn):
        turn.record = replace(turn.record, phase=Phase.REPORTING, report=None)
        hooks.wait_for_cancellation(turn)
    else:
        turn.report(cancelled(turn.record, wish))


def _leave_to_engine(turn: Turn) -> None:
    """The engine has told the server how the flow ended, or nobody wants to know."""
    turn.record = replace(turn.record, phase=Phase.REPORTING, report=None)
    turn.free_slot()
    turn.check_state()


def tree_ended(turn: Turn, leftovers: int) -> None:
    """No process of the run is left, after ``leftovers`` that outlived its own were ended."""
    if leftovers:
        turn.remark(
            logging.WARNING,
            f"Ended {leftovers} process(es) that this flow run had left behind.",
        )
    turn.run = replace(turn.run, tree_gone=True)
    hooks.wait_for_cancellation(turn)


# -- report ----------------------------------------------------------------------------------


def state_seen(turn: Turn, state: State | None) -> None:
    """The engine has reported: finish a cancellation it left open, warn of a run left Pending."""
    if hooks.awaits_state(turn):
        hooks.cancelling_seen(turn, state)
        return
    if turn.record.report is not None or state is None:
        return
    if state.type is StateType.CANCELLING:
        _cancel_at_last(turn, state)
    elif state.type is StateType.CANCELLED and turn.record.cancelling is not None:
        turn.do(Emit(kind=EventKind.CANCELLED))
    elif state.type is StateType.PENDING:
        turn.remark(
            logging.WARNING,
            "The command ended well but nothing reported a state, so this flow run stays "
            "Pending. Set the job variable report_states to true to have the worker report "
            "Running at its start and Completed or Failed at its end.",
        )


def report_answered(turn: Turn, report: Proposal, verdict: Verdict) -> None:
    """Most verdicts close the report; a run that is Cancelling by now is cancelled."""
    record = turn.record
    if isinstance(verdict, Wait):
        turn.do(Propose(proposal=record.report or report, delay_seconds=verdict.delay_seconds))
        return
    state = verdict.state
    if record.phase is Phase.RUNNING:  # Running, for a command that reports states
        turn.report_nothing()
    elif report.type is StateType.CANCELLED:
        _cancelled_answered(turn, report, verdict)
    elif state is not None and state.type is StateType.CANCELLING:
        _cancel_at_last(turn, state)
    else:
        crashed_now = state is not None and state.type is StateType.CRASHED
        if record.reason and isinstance(verdict, Accepted) and crashed_now:
            turn.remark(logging.INFO, "Reported this flow run as crashed.")
        turn.report_nothing()
        hooks.crash_answered(turn, report, verdict, state)


def _cancel_at_last(turn: Turn, state: State) -> None:
    turn.record = replace(turn.record, cancelling=state)
    if not hooks.cancelled_meanwhile(turn, state):
        turn.report(cancelled(turn.record, state))


def _cancelled_answered(
    turn: Turn, report: Proposal, verdict: Accepted | Rejected | Aborted
) -> None:
    """Force Cancelled only over Cancelling, or over a Crashed that our own cancel caused."""
    record = turn.record
    now_at = None if verdict.state is None else verdict.state.type
    may_force = now_at is StateType.CANCELLING or (
        now_at is StateType.CRASHED and record.reason is Reason.CANCELLED
    )
    if isinstance(verdict, Accepted) or now_at is StateType.CANCELLED:
        turn.report_nothing()
        turn.do(Emit(kind=EventKind.CANCELLED))
        turn.remark(logging.INFO, "Cancelled this flow run.")
    elif may_force and not report.force and record.cancelling is not None:
        turn.report(cancelled(record, record.cancelling, force=True))
    else:
        turn.remark(logging.INFO, "The flow run was over before it could be cancelled.")
        turn.report_nothing()


def report_failed(turn: Turn, failed: ProposalFailed) -> None:
    """Give up a report that the server refuses. After a bug an end is left to the next worker."""
    if not failed.was_refused and turn.record.phase is not Phase.RUNNING:
        turn.do(Abandon(cause=failed.cause))
        return
    name, cause = failed.proposal.name, failed.cause
    if failed.was_deleted:
        turn.remark_locally(f"The flow run was deleted, so its state is not reported: {name}.")
    else:
        turn.remark(logging.WARNING, f"The server did not take the state {name}: {cause}")
    turn.report_nothing()
    hooks.leave_out(turn)
