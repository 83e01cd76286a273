"""What it means for a run that one of its waits has failed."""

from __future__ import annotations

from .effects import Effect, Prepare, Spawn
from .errors import CouldNotStart, InvalidJob, NotFound, is_final
from .stimuli import CouldNotPrepare, CouldNotSpawn, Stimulus


def consequence(effect: Effect, error: Exception, cause: str) -> Stimulus | None:
    """What the machine has to hear of; None: nothing, the same may go well after a pause.

    ``cause`` is the error in words that may be shown.
    """
    match effect:
        case Prepare() if isinstance(error, NotFound):
            return CouldNotPrepare(cause=cause, deployment_missing=True)
        case Prepare() if is_final(error) or isinstance(error, InvalidJob):
            return CouldNotPrepare(cause=cause)
        case Spawn() if isinstance(error, CouldNotStart):
            return CouldNotSpawn(cause=cause)
    return None
