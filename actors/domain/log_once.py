"""Log a trouble once, and once that it is over: an hour's outage is two lines in the log."""

from __future__ import annotations

import traceback
from typing import Protocol

from .errors import FailureKind, classify_failure


class Log(Protocol):
    """A structured logger, as structlog's."""

    def info(self, event: str, /, **fields: object) -> object: ...
    def warning(self, event: str, /, **fields: object) -> object: ...
    def error(self, event: str, /, **fields: object) -> object: ...


class LogOnce:
    """Owns: the trouble that was reported last, None while all is well."""

    def __init__(self) -> None:
        self.reported: str | None = None

    def report(self, trouble: str) -> bool:
        """Note ``trouble``; True when it is news and should be logged."""
        is_news = trouble != self.reported
        self.reported = trouble
        return is_news

    def resolve(self) -> bool:
        """Note that all is well; True when a trouble had been reported."""
        had_trouble, self.reported = self.reported is not None, None
        return had_trouble

    def log_failure(
        self,
        log: Log,
        event: str,
        error: Exception,
        *,
        expected: tuple[type[Exception], ...] = (),
        **fields: object,
    ) -> None:
        """Log ``error`` as a warning named ``event`` if it is news.

        A bug, which is neither classified nor among the ``expected`` errors, is logged as an error
        with its traceback. It is the same bug when it is raised in the same place: its text may
        differ each time.
        """
        if isinstance(error, expected) or classify_failure(error) is not FailureKind.BUG:
            if self.report(str(error)):
                log.warning(event, error=str(error), **fields)
        elif self.report(place_of(error)):
            log.error("run.unexpected_error", what=event, exc_info=error, **fields)


def place_of(error: BaseException) -> str:
    """The type of ``error`` and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + where
