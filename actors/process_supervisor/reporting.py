"""The states that are proposed to the server: one at a time, and never blindly."""

from __future__ import annotations

import math

from ..domain.errors import is_final
from ..domain.ids import FlowRunId
from ..domain.model import Aborted, FlowRun, StateType, Verdict, Wait
from ..domain.ports import Clock, Orchestrator
from ..domain.record import RunRecord
from .machine.effects import Propose
from .machine.proposals import foreseen, foreseen_submitting, is_submitting
from .messages import ProposalAnswered
from .output import RunOutput

FRESH_SECONDS = 2.0
"""For how long an answer that a run is Scheduled, or Pending by our claim, is believed."""


class Proposals:
    """A part of ProcessSupervisor, owns: _newest and _under_way, two of its proposals.

    One proposal is under way at a time, so that an earlier state never arrives after a later one.
    """

    def __init__(
        self,
        run_id: FlowRunId,
        orchestrator: Orchestrator,
        clock: Clock,
        output: RunOutput,
        asked_at: float,
    ) -> None:
        self._run_id = run_id
        self._orchestrator = orchestrator
        self._clock = clock
        self._output = output
        self._seen_at = asked_at
        self._newest: Propose | None = None
        self._under_way: Propose | None = None
        self._looked_for: Propose | None = None
        self._before = StateType.PENDING
        self._is_sent = False
        self._was_refused = False

    def add(self, effect: Propose) -> None:
        """Let this proposal take the place of one that has not begun."""
        self._newest = effect

    def begin(self, effect: Propose) -> bool:
        """Whether to send ``effect`` now: it is the newest, and no other is under way."""
        may_begin = effect is self._newest and self._under_way is None
        if may_begin:
            self._under_way, self._is_sent = effect, False
        return may_begin

    def end(self, error: Exception | None = None) -> Propose | None:
        """The proposal under way is answered, or has failed: return the newer one to send now."""
        ended, self._under_way = self._under_way, None
        self._was_refused = self._is_sent and error is not None and is_final(error)
        return None if self._newest is ended else self._newest

    async def send(self, effect: Propose, record: RunRecord) -> ProposalAnswered:
        """Propose, but look first whether that would destroy what others have set meanwhile.

        ``tail``: a run that failed before it could write into its log leaves that to the worker.
        """
        proposal = effect.proposal
        before = await self._look(effect)
        verdict = None if before is None else self._foresee(effect, before, record)
        if verdict is None:
            self._is_sent = True
            verdict = await self._orchestrator.propose_state(self._run_id, proposal)
            self._seen_at = self._clock.monotonic()
        state = None if isinstance(verdict, Wait) else verdict.state
        is_set = state is not None and state.transition_id == proposal.transition_id
        if is_set and not self._could_log(effect, record, was_seen=before is not None):
            return ProposalAnswered(effect, verdict, await self._output.tail())
        return ProposalAnswered(effect, verdict)

    async def _look(self, effect: Propose) -> FlowRun | None:
        """The run as the server holds it, for all but the first try of a claim, and Submitting.

        They need no look if a poll, or the answer to the claim, has just shown the run.
        """
        age, self._seen_at = self._clock.monotonic() - self._seen_at, -math.inf
        if effect.proposal.type is StateType.PENDING and age <= FRESH_SECONDS:
            return None
        run = await self._orchestrator.read_flow_run(self._run_id)
        if self._looked_for is not effect:  # else the answer to our first proposal got lost
            self._looked_for, self._before = effect, run.state.type
        return run

    def _foresee(self, effect: Propose, run: FlowRun, record: RunRecord) -> Verdict | None:
        """A claim that was refused is given up, unless the server has taken it all the same.

        A refused look is no refusal of the claim: an earlier copy of it may still arrive.
        """
        if is_submitting(effect.proposal):
            return foreseen_submitting(record, run)
        verdict = foreseen(effect.proposal, run)
        if verdict is None and effect.proposal.type is StateType.PENDING and self._was_refused:
            return Aborted(state=run.state, reason="the claim was refused")
        return verdict

    def _could_log(self, effect: Propose, record: RunRecord, *, was_seen: bool) -> bool:
        """Whether the run could write into its log in the API before it ended.

        Engines do as soon as they are Running, other commands never. A run that ended well needs
        no more lines.
        """
        if record.exit is None or effect.proposal.type not in (
            StateType.CRASHED,
            StateType.FAILED,
        ):
            return True
        job = record.job
        logs_itself = job is None or job.is_engine or job.uses_runner
        return logs_itself and not (was_seen and self._before is StateType.PENDING)
