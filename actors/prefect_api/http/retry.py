"""Whether to send a request again, and after how long: the statuses of Prefect's own client."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRIED_STATUSES: Final = frozenset({408, 429, 502, 503})
"""Statuses that Prefect's client retries, whatever the method."""

LONGEST_WAIT: Final = 3600.0
"""The longest wait in seconds, whatever the server asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Waits 2, 4, 8, 16, 32 seconds, or what the server asks for, with jitter."""

    max_retries: int = 5
    """``PREFECT_CLIENT_MAX_RETRIES``."""
    jitter_factor: float = 0.2
    """``PREFECT_CLIENT_RETRY_JITTER_FACTOR``: by what part a wait may grow; 0: no jitter."""
    extra_codes: frozenset[int] = frozenset()
    """``PREFECT_CLIENT_RETRY_EXTRA_CODES``: further statuses to retry."""

    def retries(self, status: int) -> bool:
        return status in RETRIED_STATUSES or status in self.extra_codes

    def delay(
        self, sends: int, retry_after: float | None, uniform: Callable[[float, float], float]
    ) -> float:
        """Seconds to wait after ``sends`` sends; those during maintenance do not count.

        ``retry_after`` are the seconds that the server asks for: the wait is not shorter, but at
        most an hour. ``uniform(a, b)`` draws a random number between ``a`` and ``b``.
        """
        shortest = float(2 ** min(sends, 10)) if retry_after is None else retry_after
        shortest = min(shortest, LONGEST_WAIT)
        return min(uniform(shortest, shortest * (1 + self.jitter_factor)), LONGEST_WAIT)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for; None: it is unusable.

    Both forms of RFC 9110 are read: a number of seconds, also with a fraction, and an HTTP date.
    A past date means 0.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            seconds = (moment - now).total_seconds()
        except (ValueError, OverflowError, TypeError):  # numbers too large for a date, too
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
