"""What can be done about an error: try again, tell the user, or call it a bug."""

from __future__ import annotations

from enum import StrEnum

from .errors import (
    CouldNotStart,
    Forbidden,
    InvalidJob,
    KeeperError,
    Refused,
    SettingsError,
    StateFolderError,
    Unauthorized,
    Unavailable,
)


class FailureKind(StrEnum):
    """What can be done about a failure."""

    PASSING = "passing"
    """Try again: the server, the keeper, the disk or the settings may allow it later."""
    FINAL = "final"
    """Give up and tell the run's user why: the same would fail again."""
    BUG = "bug"
    """Give up: an unexpected error is a fault of the worker."""


_PASSING = (Unavailable, Unauthorized, Forbidden, KeeperError, StateFolderError, SettingsError)
"""A key that was rotated, or an interpreter that is missing, may be put right meanwhile."""

_FINAL = (Refused, InvalidJob, CouldNotStart)


def classify_failure(error: Exception) -> FailureKind:
    """What can be done about ``error``, whatever effect raised it."""
    if isinstance(error, _PASSING):
        return FailureKind.PASSING
    return FailureKind.FINAL if isinstance(error, _FINAL) else FailureKind.BUG


def bug_in_words(error: BaseException) -> str:
    """A bug for the run's user, without the error's text, which could hold a secret."""
    return f"The worker failed ({type(error).__name__}). Its log has the traceback."
