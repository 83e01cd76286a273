"""Says that a request has failed: what was to be expected in a line, a bug with its traceback."""

from __future__ import annotations

import traceback

from structlog.typing import FilteringBoundLogger

from .domain.failures import FailureKind, classify_failure
from .domain.log_once import Complaint
from .runtime import ActorDeadError, Timeout


def log_failure(
    log: FilteringBoundLogger, event: str, error: Exception, complaint: Complaint, **fields: object
) -> None:
    """Log ``error`` as ``event``, unless ``complaint`` has it from the last time.

    A bug is an error with its traceback, and the same bug if it is raised in the same place: its
    text may differ each time. That another actor is being restarted, or is slow, is none.
    """
    is_expected = isinstance(error, ActorDeadError | Timeout)
    if is_expected or classify_failure(error) is not FailureKind.BUG:
        if complaint.raise_(str(error)):
            log.warning(event, error=str(error), **fields)
    elif complaint.raise_(_place(error)):
        log.error("run.unexpected_error", what=event, exc_info=error, **fields)


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where
