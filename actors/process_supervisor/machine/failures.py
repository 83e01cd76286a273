"""What a run's machine must hear when the wait for one of its effects has failed."""

from __future__ import annotations

from ...domain.errors import NotFound
from .effects import CheckState, Effect, Prepare, ReadHistory, Spawn
from .stimuli import CouldNotPrepare, CouldNotSpawn, StateSeen, StateUnknown, Stimulus


def consequence(effect: Effect, error: Exception, cause: str) -> Stimulus | None:
    """What the machine must hear of a failure that is not passing; None: it has no use for it.

    ``cause`` is the error in words that may be shown.
    """
    match effect:
        case Prepare():
            return CouldNotPrepare(cause=cause, deployment_missing=isinstance(error, NotFound))
        case Spawn():
            return CouldNotSpawn(cause=cause)
        case CheckState() if isinstance(error, NotFound):
            return StateSeen(state=None)
        case CheckState() | ReadHistory():
            return StateUnknown(cause=cause)
    return None
