"""Errors that say what happened and what to do about it.

Everything the worker raises on purpose is a :class:`WorkerError`; the command line prints its
message without a traceback.
"""

from __future__ import annotations

from enum import StrEnum


class WorkerError(Exception):
    """Something a person can act on. The message names the remedy."""


class SettingsError(WorkerError):
    """A setting has a wrong value; the message names its source."""


class StateFolderError(WorkerError):
    """The state folder cannot be used (permissions, newer format, held by another worker)."""


class KeeperError(WorkerError):
    """The keeper could not be started, reached or understood."""


class CouldNotStart(WorkerError):
    """A run's process could not be started; the message names the cause."""


class InfrastructureNotFound(WorkerError):
    """There is no such process any more."""


class InfrastructureNotAvailable(WorkerError):
    """The process is on another host, or not this worker's."""


class InvalidJob(WorkerError):
    """The job's configuration is invalid; the message names the wrong value."""


class OrchestratorError(WorkerError):
    """The Prefect server's answer to one request was not a success.

    ``status`` is the HTTP status code, or None where no answer came at all.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unavailable(OrchestratorError):
    """No usable response after all retries; a later request may succeed."""


class Refused(OrchestratorError):
    """The server rejected the request; the same request will be rejected again."""


class Unauthorized(Refused):
    """401: the API key or the authorization string is missing or wrong."""


class Forbidden(Refused):
    """403: the server does not allow this."""


class NotFound(Refused):
    """404: the object does not exist any more."""


class Conflict(Refused):
    """409: another client was faster."""


class InvalidRequest(Refused):
    """422 and other 4xx: the server rejects the request's form."""


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


def is_final(error: Exception) -> bool:
    """Whether the same would fail again."""
    return classify_failure(error) is FailureKind.FINAL


def bug_in_words(error: BaseException) -> str:
    """A bug for the run's user, without the error's text, which could hold a secret."""
    return f"The worker failed ({type(error).__name__}). Its log has the traceback."
