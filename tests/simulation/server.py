"""The server of a simulation: it notes who wrote what over which state, and who had looked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from actors.domain.ids import FlowRunId, TransitionId
from actors.domain.model import Proposal, State, StateType, Verdict
from actors.domain.ports import Clock
from actors.process_supervisor.machine.proposals import is_pending_by, is_submitting
from actors.testing.prefect_world import PrefectWorld

Author = Literal["worker", "others"]

LOOK_LASTS_SECONDS = 5.0
"""From the server's answer to a look to the request that was decided on it, at the longest."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the worker was shown of a run: ``states`` counts those that it had had by then."""

    at: float
    states: int


def is_claim(proposal: Proposal) -> bool:
    """Whether it is Pending, and not Submitting."""
    return proposal.type is StateType.PENDING and not is_submitting(proposal)


def claim_before(history: Iterable[State], state: State) -> TransitionId:
    """The claim by which ``state`` is Pending or Submitting; its own id if it is neither."""
    ids = [s.transition_id for s in history if s.transition_id]
    own = state.transition_id or TransitionId("")
    return next((claim for claim in ids if own and is_pending_by(claim, state)), own)


@dataclass(slots=True)
class Request:
    """A request of the worker's."""

    operation: str
    args: tuple[Any, ...]
    effect: Callable[..., Any]
    look: Look | None = None
    """For proposals: what the worker knew of the run."""
    sent_at: float = 0.0
    is_late: bool = False
    """Whether it arrives after the worker was told that it was lost."""
    is_orphan: bool = False
    """Whether it arrives after who sent it is gone: a successor may have been faster."""

    @property
    def is_proposal(self) -> bool:
        return self.operation == "propose_state"

    @property
    def is_claim(self) -> bool:
        return self.is_proposal and is_claim(self.args[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A state took the place of another one."""

    run_id: FlowRunId
    author: Author
    before: State
    after: State
    proposal: Proposal
    crossed: bool
    """Whether ``before`` was written while the worker's request was under way: it had looked just
    before, and the server offers no way to propose a state on condition of another."""
    late: bool
    """Whether nobody waited for the answer any more: such a request cannot be called back."""


class WatchedServer(PrefectWorld):
    """``request`` is the worker's at the moment; ``on_write`` hears of every new state."""

    def __init__(self, clock: Clock, version: str, on_write: Callable[[Write], None]) -> None:
        super().__init__(clock, version=version)
        self.request: Request | None = None
        self.proposed: set[str] = set()
        """Transition ids that the worker proposed."""
        self._on_write = on_write
        self._time = clock.monotonic

    def look(self, run_ids: Iterable[FlowRunId]) -> dict[FlowRunId, Look]:
        """What the worker is shown of these runs now."""
        now = self._time()
        return {r: Look(now, len(self.runs[r].history)) for r in run_ids if r in self.runs}

    def propose(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        run = self.run(run_id)
        before, count = run.state, len(run.history)
        if self.request is not None:
            self.proposed.add(proposal.transition_id)
        verdict = super().propose(run_id, proposal)
        if len(run.history) > count:
            self._on_write(
                Write(
                    run_id=run_id,
                    author="others" if self.request is None else "worker",
                    before=before,
                    after=run.state,
                    proposal=proposal,
                    crossed=_crosses(self.request, count),
                    late=_is_late(self.request, before),
                )
            )
        return verdict


def _is_late(request: Request | None, before: State) -> bool:
    """An orphan may be the one copy that counts, where nobody has been faster."""
    if request is None:
        return False
    return request.is_late or (request.is_orphan and before.type is not StateType.SCHEDULED)


def _crosses(request: Request | None, states: int) -> bool:
    """Whether the last of so many states was written since the look that led to ``request``."""
    if request is None or request.look is None or request.look.states >= states:
        return False
    return request.is_claim or request.sent_at - request.look.at <= LOOK_LASTS_SECONDS
