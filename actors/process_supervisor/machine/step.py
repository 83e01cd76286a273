"""The life of a run, as a pure state machine: (run, stimulus) -> (run, effects).

The supervisor carries the effects out and comes back with what happened. The record in
:class:`Run` is saved before the effects of a step, so a successor that reads it resumes where its
predecessor died: it says :class:`~.stimuli.Adopted` and the machine asks again for whatever was
under way. Every effect bears being asked for twice: a claim keeps its transition id, the keeper
starts one process per key, the server answers a repeated report as a repeat.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from ...domain.exit_status import crash_message
from ...domain.model import Proposal, State, StateType, Verdict
from ...domain.record import Phase, Reason
from ...domain.run import Run
from .adoption import Adoption
from .effects import Abandon, Effect
from .proposals import cancelled, claim, crashed
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
    GivenUp,
    HistorySeen,
    Prepared,
    ProposalFailed,
    Spawned,
    StateSeen,
    StateUnknown,
    Stimulus,
    TailKnown,
    Unanswerable,
    Vacated,
    WorkerFailed,
)


def step(run: Run, stimulus: Stimulus, *, now: datetime) -> tuple[Run, tuple[Effect, ...]]:
    """Decide what ``stimulus`` means for ``run`` at ``now`` (timezone-aware)."""
    turn = _Step(run, now)
    turn.take(stimulus)
    return turn.run, tuple(turn.effects)


class _Step(Adoption):
    """What each stimulus means."""

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
                self._due_at_last()
            case CouldNotPrepare(cause=cause, deployment_missing=missing):
                self._could_not_prepare(cause, deployment_missing=missing)
            case Spawned(pid=pid):
                self._spawned(pid)
            case CouldNotSpawn(cause=cause):
                self._could_not_spawn(cause)
            case Exited():
                self._exited(stimulus)
            case TailKnown(tail=tail):
                self._tail_known(tail)
            case Vacated(leftovers=leftovers):
                self._vacated(leftovers)
            case CancelWanted(state=state):
                self._cancel_wanted(state)
            case EndWanted(reason=reason):
                self._end_wanted(reason)
            case GivenUp():
                self._given_up()
            case StateSeen(state=state):
                self._state_seen(state)
            case HistorySeen(states=states):
                self._history_seen(states)
            case StateUnknown(cause=cause):
                self._state_unknown(cause)
            case ProposalFailed(proposal=proposal, cause=cause):
                self._proposal_failed(proposal, cause)
            case WorkerFailed(cause=cause):
                self._worker_failed(cause)
            case _:
                assert_never(stimulus)
        self._settle_if_done()

    def _state_seen(self, state: State | None) -> None:
        self.run = replace(self.run, checking=False)
        if self._record.phase is Phase.REPORTING:
            self._seen_after_its_end(state)
        elif self._record.phase is Phase.CLAIMING:
            self._seen_after_a_failed_claim(state)
        elif state is not None and state.type is StateType.CANCELLING:
            self._cancel_wanted(state)
        elif self._record.phase is Phase.PREPARING:
            self._seen_before_its_start(state)

    def _state_unknown(self, cause: str) -> None:
        """Once it has ended nothing depends on the state: the engine has reported it."""
        was_checking = self.run.checking
        self.run = replace(self.run, checking=False)
        if self._record.phase is Phase.CLAIMING and was_checking:  # it may be ours, or not
            self._do(Abandon(cause=cause))
        elif self._record.phase in (Phase.CLAIMING, Phase.PREPARING):
            self._never_started(cause)

    def _answered(self, proposal: Proposal, verdict: Verdict) -> None:
        if proposal.transition_id == self._record.claim:
            if self._record.phase is Phase.CLAIMING:
                self._claim_answered(verdict)
        elif self._record.report is not None and (
            proposal.transition_id == self._record.report.transition_id
        ):
            self._report_answered(self._record.report, verdict)

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

    def _proposal_failed(self, proposal: Proposal, cause: str) -> None:
        record = self._record
        if proposal.transition_id == record.claim:
            if record.phase is Phase.CLAIMING:
                self._check_state()
        elif record.report is None or proposal.transition_id != record.report.transition_id:
            return
        elif record.phase is Phase.RUNNING:
            self._remark(
                logging.WARNING, f"The server was not told the state {proposal.name}. {cause}"
            )
            self._save(report=None)
        else:
            self._do(Abandon(cause=cause))

    def _worker_failed(self, cause: str) -> None:
        """Do what can be done without the keeper's facts: order the end, and report it."""
        record = self._record
        if record.phase is Phase.OVER:
            return
        # Nothing is left of it, as far as will ever be known here.
        self.run = replace(self.run, failure=cause, tree_gone=True)
        if record.exit is None:
            self._end_tree()
        if record.phase is Phase.CLAIMING:
            self._check_state()
        elif record.phase is Phase.REPORTING:
            if record.report is not None:
                self._propose(record.report)
        elif record.cancelling is not None:
            self._report(cancelled(record, record.cancelling))
        else:
            reason = record.reason or Reason.WORKER_FAILED
            self._save(reason=reason)
            message = crash_message(reason, None, (), cause=cause, limits=self._limits)
            self._remark(logging.ERROR, message)
            self._report(crashed(record, message))
