"""What the machine is told when an effect has failed for good."""

from __future__ import annotations

from ...domain.errors import NotFound, is_final
from .effects import CheckState, Effect, PrepareJob, Propose, ReadHistory, Spawn
from .stimuli import (
    CouldNotPrepare,
    CouldNotSpawn,
    ProposalFailed,
    StateSeen,
    StateUnknown,
    Stimulus,
    Unanswerable,
)


def stimulus_of_failure(effect: Effect, error: Exception, cause: str) -> Stimulus | None:
    """What the failure means to the machine; None: nothing follows from it.

    ``cause`` is the error in words that may be shown.
    """
    match effect:
        case Propose(proposal=proposal) if is_final(error):
            return Unanswerable(proposal=proposal, cause=cause)
        case Propose(proposal=proposal):
            return ProposalFailed(proposal=proposal, cause=cause)
        case PrepareJob():
            return CouldNotPrepare(cause=cause, deployment_missing=isinstance(error, NotFound))
        case Spawn():
            return CouldNotSpawn(cause=cause)
        case CheckState() if isinstance(error, NotFound):
            return StateSeen(state=None)
        case CheckState() | ReadHistory():
            return StateUnknown(cause=cause)
    return None
