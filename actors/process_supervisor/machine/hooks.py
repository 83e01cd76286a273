"""The hooks of a flow whose engine ended before it could run them.

``on_crashed`` runs once the server has taken our Crashed, ``on_cancellation`` before Cancelled.
Which of them an engine has run shows in the state of its run: it reports that it crashed, or puts
a Cancelling of its own over the one that a user has set.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from ...domain.exit_status import explain
from ...domain.model import Accepted, Proposal, State, StateType, Verdict
from ...domain.record import Hooks, HooksKind, HooksStage
from .effects import EndHooks, RunHooks, StartHooksTimeout
from .proposals import cancelled
from .turn import Turn


def want(turn: Turn) -> bool:
    """Note that hooks may have to run after this exit; False if they do not."""
    record = turn.record
    has_engine = record.job is not None and record.job.hooks_seconds is not None
    if not has_engine or record.exit is None or record.exit.code == 0:
        return False
    if record.hooks is None or record.hooks.stage is HooksStage.WANTED:
        is_cancelled = record.cancelling is not None
        kind = HooksKind.CANCELLATION if is_cancelled else HooksKind.CRASHED
        turn.record = replace(record, hooks=Hooks(kind=kind, stage=HooksStage.WANTED))
    return turn.record.awaits_hooks


def crash_answered(turn: Turn, report: Proposal, verdict: Verdict, state: State | None) -> None:
    """Run the hooks if our Crashed was taken, now or when it was first sent."""
    if not _are(turn, HooksStage.WANTED):
        return
    is_crashed = state is not None and state.type is StateType.CRASHED
    by_us = isinstance(verdict, Accepted) or (
        state is not None and state.transition_id == report.transition_id
    )
    if is_crashed and by_us and report.type is StateType.CRASHED:
        _run(turn, HooksKind.CRASHED, state)
    else:
        _over(turn)


def cancelling_seen(turn: Turn, state: State | None) -> None:
    """Run the hooks if the run is Cancelling as its user left it, then report Cancelled."""
    wish = turn.record.cancelling
    if state is None:
        _over(turn)
    elif state.type is StateType.CANCELLING and wish is not None and state.id == wish.id:
        _run(turn, HooksKind.CANCELLATION, state)
    else:
        leave_out(turn)


def cancelled_meanwhile(turn: Turn, state: State) -> bool:
    """The server rejected Crashed because the run is Cancelling; whether hooks run first."""
    if not _are(turn, HooksStage.WANTED):
        return False
    turn.report_nothing()
    _run(turn, HooksKind.CANCELLATION, state)
    return True


def wait_for_cancellation(turn: Turn) -> None:
    """Look at the run once none of its processes is left."""
    if awaits_state(turn) and turn.run.tree_gone and not turn.run.checking:
        turn.check_state()


def resume(turn: Turn) -> None:
    """A successor goes on: the keeper starts hooks once, however often it is asked."""
    if _are(turn, HooksStage.DUE):
        turn.do(RunHooks())
    else:
        wait_for_cancellation(turn)


def started(turn: Turn) -> None:
    """Start the clock; what has passed counts."""
    hooks, job = turn.record.hooks, turn.record.job
    if not _are(turn, HooksStage.DUE) or hooks is None or job is None:
        return
    began = hooks.started_at or turn.now
    turn.record = replace(turn.record, hooks=replace(hooks, started_at=began))
    left = (job.hooks_seconds or 0.0) - (turn.now - began).total_seconds()
    turn.do(StartHooksTimeout(seconds=max(0.0, left)))


def ended(turn: Turn, code: int | None) -> None:
    """The process of the hooks is over."""
    if code != 0:
        _finish(turn, f"failed: {explain(code).summary} See their output in the worker's log.")
    else:
        _finish(turn)


def failed(turn: Turn, cause: str) -> None:
    """The hooks could not be run, or not be ended; after a bug they may have started."""
    if _are(turn, HooksStage.DUE):
        turn.do(EndHooks())
    _finish(turn, f"could not be run: {cause}")


def timed_out(turn: Turn) -> None:
    """End hooks that take too long."""
    if _are(turn, HooksStage.DUE):
        turn.do(EndHooks())


def leave_out(turn: Turn) -> None:
    """Go on without hooks, or after them: Cancelled is still to be reported."""
    record = turn.record
    if record.hooks is None or not record.awaits_hooks:
        return
    _over(turn)
    is_cancelled = record.hooks.kind is HooksKind.CANCELLATION and record.report is None
    if is_cancelled and record.cancelling is not None:
        turn.report(cancelled(turn.record, record.cancelling))


def give_up(turn: Turn) -> None:
    """Leave hooks out, since the worker cannot watch over them any more."""
    if _are(turn, HooksStage.DUE):
        turn.do(EndHooks())
    leave_out(turn)


def awaits_state(turn: Turn) -> bool:
    """Whether the run's state decides if hooks of a cancelled run are for us to run."""
    hooks = turn.record.hooks
    is_cancelled = hooks is not None and hooks.kind is HooksKind.CANCELLATION
    return is_cancelled and _are(turn, HooksStage.WANTED) and turn.record.report is None


def _are(turn: Turn, stage: HooksStage) -> bool:
    return turn.record.hooks is not None and turn.record.hooks.stage is stage


def _run(turn: Turn, kind: HooksKind, state: State | None) -> None:
    state_id = None if state is None else state.id
    hooks = Hooks(kind=kind, stage=HooksStage.DUE, state_id=state_id)
    turn.record = replace(turn.record, hooks=hooks)
    turn.do(RunHooks())


def _finish(turn: Turn, trouble: str | None = None) -> None:
    hooks = turn.record.hooks
    if hooks is None or not _are(turn, HooksStage.DUE):
        return
    if trouble is not None:
        turn.remark(logging.WARNING, f"The on_{hooks.kind} hooks of this flow {trouble}")
    leave_out(turn)


def _over(turn: Turn) -> None:
    hooks = turn.record.hooks
    if hooks is not None:
        turn.record = replace(turn.record, hooks=replace(hooks, stage=HooksStage.OVER))
    turn.free_slot()
