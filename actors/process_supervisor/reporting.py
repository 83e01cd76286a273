"""What is said of a run to the server: one thing at a time, and never blindly."""

from __future__ import annotations

import math

from ..domain.errors import NotFound, is_final
from ..domain.ids import FlowRunId
from ..domain.model import Aborted, Proposal, State, StateType, Verdict
from ..domain.ports import Clock, Orchestrator
from .machine.effects import Propose
from .machine.proposals import foreseen
from .messages import Said

REFUSALS = 150
"""How often in a row a report or a read may be refused before it is given up: over an hour."""

FRESH_SECONDS = 2.0
"""For how long a poll's word that a run is scheduled is believed."""


class Proposals:
    """A part of ProcessSupervisor, owns: _wanted and _on_its_way, what is to be and is being said.

    One at a time, so that an earlier state never arrives after a later one.
    """

    def __init__(
        self, run_id: FlowRunId, orchestrator: Orchestrator, clock: Clock, listed_at: float
    ) -> None:
        self._run_id = run_id
        self._orchestrator = orchestrator
        self._clock = clock
        self._scheduled_at = listed_at
        self._wanted: Propose | None = None
        self._on_its_way: Propose | None = None
        self._looked_for: Propose | None = None
        self._before = StateType.PENDING
        self._refusals = 0

    def want(self, effect: Propose) -> bool:
        """This is to be said from now on; True: and can be, since nothing else is on its way."""
        self._wanted = effect
        if self._on_its_way is not None:
            return False
        self._on_its_way = effect
        return True

    def plan(self, effect: Propose) -> None:
        """This is to be said, but not yet."""
        self._wanted = effect

    def is_wanted_again(self, effect: Propose) -> bool:
        """Whether what failed before should be said once more."""
        return effect is self._wanted and self._on_its_way is None

    async def say(self, effect: Propose) -> Said:
        """Propose, but look first whether it would destroy what others have set meanwhile.

        Only the first copy of a new claim needs no look, if a poll has just brought the run.
        """
        age, self._scheduled_at = self._clock.monotonic() - self._scheduled_at, -math.inf
        looks = effect.proposal.type is not StateType.PENDING or age > FRESH_SECONDS
        before: StateType | None = None
        if looks:
            state = (await self._orchestrator.read_flow_run(self._run_id)).state
            before = self._first_seen(effect, state.type)
            verdict = foreseen(effect.proposal, state) or self._given_up(effect.proposal, state)
            if verdict is not None:
                return Said(effect, verdict, before)
        verdict = await self._orchestrator.propose_state(self._run_id, effect.proposal)
        return Said(effect, verdict, before)

    def landed(self, effect: Propose) -> Propose | None:
        """An answer or a failure has come: what has taken its place meanwhile, to be said now."""
        self._on_its_way = None
        return None if self._wanted is effect else self._wanted

    def is_refused_for_good(self, proposal: Proposal, error: Exception) -> bool:
        """A deleted run needs nothing. Else what is refused may be a proxy's word, not Prefect's.

        So a report is repeated for more than an hour, and a claim looked at before it is given
        up: should it have been taken all the same, it must not be left Pending.
        """
        if isinstance(error, NotFound):
            return True
        self._refusals = self._refusals + 1 if is_final(error) else 0
        return self._refusals > REFUSALS and proposal.type is not StateType.PENDING

    def _first_seen(self, effect: Propose, now: StateType) -> StateType:
        """How the server held the run when this was first to be said: an answer may get lost."""
        if self._looked_for is not effect:
            self._looked_for, self._before = effect, now
        return self._before

    def _given_up(self, proposal: Proposal, state: State) -> Verdict | None:
        if proposal.type is StateType.PENDING and self._refusals:
            return Aborted(state=state, reason="the claim was refused")
        return None
