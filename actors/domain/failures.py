"""What it means for a run that something its supervisor waited for has failed."""

from __future__ import annotations

from enum import StrEnum

from .effects import CheckState, Effect, Prepare, ReadHistory, Spawn
from .errors import (
    CouldNotStart,
    Forbidden,
    InvalidJob,
    KeeperError,
    NotFound,
    Refused,
    SettingsError,
    StateFolderError,
    Unauthorized,
    Unavailable,
)
from .stimuli import CouldNotPrepare, CouldNotSpawn, StateSeen, StateUnknown, Stimulus


class FailureKind(StrEnum):
    """What can be done about a failure."""

    PASSING = "passing"
    """Try again: the server, the keeper, the disk or the settings may allow it later."""
    FINAL = "final"
    """Give up and tell the run's user why: the same would fail again."""
    BUG = "bug"
    """Give up: nobody expected this error, so it is a fault of the worker."""


_PASSING = (Unavailable, Unauthorized, Forbidden, KeeperError, StateFolderError, SettingsError)
"""A key that was rotated, or an interpreter that is missing, may be put right meanwhile."""

_FINAL = (Refused, InvalidJob, CouldNotStart)


def classify_failure(error: Exception) -> FailureKind:
    """What can be done about ``error``, whichever effect it has ended."""
    if isinstance(error, _PASSING):
        return FailureKind.PASSING
    return FailureKind.FINAL if isinstance(error, _FINAL) else FailureKind.BUG


def bug_in_words(error: BaseException) -> str:
    """A bug for the run's user. The error's text is left out, it could hold a secret."""
    return f"The worker failed ({type(error).__name__}). Its log has the traceback."


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
