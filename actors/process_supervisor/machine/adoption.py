"""A run whose supervisor died: its successor asks again for whatever was under way."""

from __future__ import annotations

import logging
from dataclasses import replace

from ...domain.exit_status import crash_message
from ...domain.process import ExitStatus
from ...domain.record import Phase, Reason
from ...domain.worker_events import EventKind
from . import hooks
from .beginning import end_unstarted, spawned
from .effects import Emit, PrepareJob, TellPid
from .ending import exited
from .proposals import cancelled, claim, crashed
from .stimuli import Adopted, Exited
from .turn import Turn


def adopted(turn: Turn, known: Adopted) -> None:
    """Go on from the record.

    The keeper knows better than the record whether there is a process: disks fill up.
    """
    record = turn.record
    turn.run = replace(turn.run, tree_gone=known.pid is None or known.rebooted)
    match record.phase:
        case Phase.CLAIMING | Phase.PREPARING | Phase.SPAWNING if known.pid is not None:
            turn.record = replace(record, phase=Phase.SPAWNING, pid=known.pid)
            if known.rebooted:
                _ended_unseen(turn, Reason.MACHINE_RESTARTED)
            else:
                spawned(turn, known.pid)
        case Phase.CLAIMING:
            turn.propose(claim(record))
        case Phase.PREPARING | Phase.SPAWNING if turn.is_to_end:
            end_unstarted(turn)
        case Phase.PREPARING | Phase.SPAWNING:
            turn.record = replace(record, phase=Phase.PREPARING)
            turn.do(PrepareJob())
        case Phase.RUNNING if known.rebooted or known.pid is None:
            _ended_unseen(turn, Reason.MACHINE_RESTARTED if known.rebooted else Reason.LOST)
        case Phase.RUNNING:
            _resume_running(turn)
        case Phase.REPORTING:
            _resume_reporting(turn)
        case Phase.OVER:
            pass


def _ended_unseen(turn: Turn, reason: Reason) -> None:
    turn.record = replace(turn.record, reason=turn.record.reason or reason)
    exited(turn, Exited(status=ExitStatus(code=None)))


def _resume_running(turn: Turn) -> None:
    record = turn.record
    if record.pid is not None:
        turn.do(TellPid(pid=record.pid))
    if record.report is not None:
        turn.propose(record.report)
    if turn.is_to_end:
        turn.end_tree()
    else:
        turn.start_timeout()


def _resume_reporting(turn: Turn) -> None:
    record = turn.record
    if record.exit is not None:
        turn.do(Emit(kind=EventKind.EXECUTED))  # a repeated event has the same id
    elif not turn.run.tree_gone:
        turn.end_tree()  # a supervisor that could not go on may not have ordered the end
    if record.report is not None:
        turn.propose(record.report)
    elif record.awaits_hooks:
        hooks.resume(turn)
    elif record.cancelling is not None:
        turn.check_state()  # Cancelled may be accepted, and its event not emitted


def worker_failed(turn: Turn, cause: str) -> None:
    """Do what can be done without the keeper's facts: order the end, and report it."""
    record = turn.record
    if record.phase is Phase.OVER:
        return
    # Whether processes are left will not be known here.
    turn.run = replace(turn.run, failure=cause, tree_gone=True)
    if record.exit is None:
        turn.end_tree()
    if record.phase is Phase.CLAIMING:
        turn.check_state()
    elif record.phase is Phase.REPORTING:
        if record.report is not None:
            turn.propose(record.report)
        hooks.give_up(turn)
    elif record.cancelling is not None:
        turn.report(cancelled(record, record.cancelling))
    else:
        reason = record.reason or Reason.WORKER_FAILED
        turn.record = replace(record, reason=reason)
        message = crash_message(reason, None, (), cause=cause, limits=record.limits)
        turn.remark(logging.ERROR, message)
        turn.report(crashed(record, message))
