"""Errors that say what happened and what to do about it.

Everything the worker raises on purpose is a :class:`WorkerError`; the command line prints its
message without a traceback.
"""

from __future__ import annotations


class WorkerError(Exception):
    """Something a person can act on. The message names the remedy."""


class SettingsError(WorkerError):
    """A setting has a wrong value; the message names its source."""


class StateFolderError(WorkerError):
    """The state folder cannot be used (permissions, newer format, held by another worker)."""


class KeeperError(WorkerError):
    """The keeper could not be started, reached or understood."""


class CouldNotStart(WorkerError):
    """A run's process could not be started: the message is the cause in words."""


class InfrastructureNotFound(WorkerError):
    """There is no such process (any more)."""


class InfrastructureNotAvailable(WorkerError):
    """The process is out of this worker's reach: on another host, or not its own."""


class InvalidJob(WorkerError):
    """The job's configuration cannot be carried out: the message names the wrong value."""


class OrchestratorError(WorkerError):
    """The Prefect server's answer to one request was not a success.

    ``status`` is the HTTP status code, or None where no answer came at all.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unavailable(OrchestratorError):
    """No usable answer although it was asked for repeatedly; asking again later may help."""


class Refused(OrchestratorError):
    """The server understood and said no; asking again unchanged will not help."""


class Unauthorized(Refused):
    """401: the API key or the authorization string is missing or wrong."""


class Forbidden(Refused):
    """403: the server does not allow this."""


class NotFound(Refused):
    """404: the object does not exist (any more)."""


class Conflict(Refused):
    """409: somebody else was faster."""


class InvalidRequest(Refused):
    """422 and other 4xx: the server rejects the request's form."""


def is_final(error: Exception) -> bool:
    """Whether the same request would be refused again.

    A key that was rotated is nobody's fault but the settings', and may be put right.
    """
    return isinstance(error, Refused) and not isinstance(error, Unauthorized | Forbidden)
