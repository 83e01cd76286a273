"""What follows from what happens to a run: step(run, stimulus) -> (run, effects).

This is the one table of decisions; each stands in the module of its phase.

The supervisor saves the record in :class:`Run` before it carries out the effects of a step, so a
successor that reads the record resumes where its predecessor died: it passes
:class:`~.stimuli.Adopted`, and the machine asks again for whatever was under way. Every effect may
be asked for twice: a claim keeps its transition id, the keeper starts one process per key, the
server answers a repeated report as a repeat.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from ...domain.model import State, StateType, Verdict, Wait
from ...domain.process import TreeEnded
from ...domain.record import Phase
from ...domain.run import CancelRun, EndRun, OfferedAgain, Run
from . import adoption, beginning, ending, hooks, stimuli
from .effects import Abandon, Effect
from .proposals import claim
from .turn import Turn


def step(run: Run, stimulus: stimuli.Stimulus, *, now: datetime) -> tuple[Run, tuple[Effect, ...]]:
    """Decide what ``stimulus`` means for ``run`` at ``now`` (timezone-aware)."""
    turn = Turn(run, now)
    _decide(turn, stimulus)
    turn.settle_if_done()
    return turn.run, tuple(turn.effects)


def _decide(turn: Turn, stimulus: stimuli.Stimulus) -> None:
    match stimulus:
        case stimuli.Begun():
            turn.propose(claim(turn.record))
        case stimuli.Adopted():
            adoption.adopted(turn, stimulus)
        case stimuli.WorkerFailed(cause=cause):
            adoption.worker_failed(turn, cause)
        case stimuli.Answered(proposal=proposal, verdict=verdict) if turn.is_claim(proposal):
            beginning.claim_answered(turn, verdict)
        case stimuli.Answered(proposal=proposal, verdict=verdict) if turn.is_submitting(proposal):
            _submitting_answered(turn, verdict)
        case stimuli.ProposalFailed(proposal=proposal) if turn.is_submitting(proposal):
            turn.check_state()  # it is not tried again; the run starts without
        case stimuli.Answered(proposal=proposal, verdict=verdict) if turn.is_report(proposal):
            ending.report_answered(turn, proposal, verdict)
        case stimuli.ProposalFailed(proposal=proposal) if turn.is_claim(proposal):
            beginning.claim_failed(turn, was_refused=stimulus.was_refused)
        case stimuli.ProposalFailed(proposal=proposal) if turn.is_report(proposal):
            ending.report_failed(turn, stimulus)
        case stimuli.Answered() | stimuli.ProposalFailed():
            pass  # another proposal has taken its place
        case stimuli.HistorySeen(states=states):
            beginning.history_seen(turn, states)
        case stimuli.Prepared():
            beginning.prepared(turn, stimulus)
        case stimuli.CouldNotPrepare(cause=cause, deployment_missing=missing):
            beginning.could_not_prepare(turn, cause, deployment_missing=missing)
        case stimuli.Due():
            beginning.due(turn)
        case stimuli.Spawned(pid=pid):
            beginning.spawned(turn, pid)
        case stimuli.CouldNotSpawn(cause=cause):
            beginning.could_not_spawn(turn, cause)
        case stimuli.GiveBackWanted():
            beginning.give_back_wanted(turn)
        case CancelRun(state=state):
            ending.cancel_wanted(turn, state)
        case OfferedAgain(seconds_ago=seconds):
            beginning.offered_again(turn, seconds)
        case EndRun(reason=reason):
            ending.end_wanted(turn, reason)
        case stimuli.Exited():
            ending.exited(turn, stimulus)
        case stimuli.TailKnown(tail=tail):
            ending.tail_known(turn, tail)
        case TreeEnded(leftovers=leftovers):
            ending.tree_ended(turn, len(leftovers))
        case stimuli.HooksStarted():
            hooks.started(turn)
        case stimuli.HooksEnded(status=status):
            hooks.ended(turn, status.code)
        case stimuli.HooksFailed(cause=cause):
            hooks.failed(turn, cause)
        case stimuli.HooksTimedOut():
            hooks.timed_out(turn)
        case stimuli.StateSeen(state=state):
            _state_seen(turn, state)
        case stimuli.StateUnknown(cause=cause):
            _state_unknown(turn, cause)
        case _:
            assert_never(stimulus)


def _submitting_answered(turn: Turn, verdict: Verdict) -> None:
    """What the answer shows of the run decides, be Submitting taken or not."""
    if isinstance(verdict, Wait) or verdict.state is None:
        turn.check_state()
    else:
        _state_seen(turn, verdict.state)


def _state_seen(turn: Turn, state: State | None) -> None:
    turn.run = replace(turn.run, checking=False)
    if turn.record.phase is Phase.REPORTING:
        ending.state_seen(turn, state)
    elif turn.record.phase is Phase.CLAIMING:
        beginning.state_seen_after_a_failed_claim(turn, state)
    elif state is not None and state.type is StateType.CANCELLING:
        ending.cancel_wanted(turn, state)
    elif turn.record.phase is Phase.PREPARING:
        beginning.state_seen_before_start(turn, state)


def _state_unknown(turn: Turn, cause: str) -> None:
    """Once the run has ended only hooks depend on the state: the engine has reported it."""
    was_checking = turn.run.checking
    turn.run = replace(turn.run, checking=False)
    if turn.record.phase is Phase.CLAIMING and was_checking:  # the claim may have been taken
        turn.do(Abandon(cause=cause))
    elif turn.record.phase in (Phase.CLAIMING, Phase.PREPARING):
        beginning.never_started(turn, cause)
    elif was_checking:
        hooks.leave_out(turn)
