"""When a request is sent again, and how long to wait before: pure rules (contract section 2.5)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRIED_STATUSES: Final = frozenset({408, 429, 502, 503})
"""Statuses that Prefect's own client retries, whatever the method."""


LONGEST_WAIT: Final = 3600.0
"""Seconds that a server may have us wait at most, whatever it asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Prefect's retry ladder: 2, 4, 8, 16, 32 seconds, or what the server asks for, jittered."""

    max_retries: int = 5
    """Further sends after the first one (``PREFECT_CLIENT_MAX_RETRIES``)."""
    jitter_factor: float = 0.2
    """How far a wait may stretch; 0 turns jitter off (``PREFECT_CLIENT_RETRY_JITTER_FACTOR``)."""
    extra_codes: frozenset[int] = frozenset()
    """Further statuses to retry (``PREFECT_CLIENT_RETRY_EXTRA_CODES``)."""

    def retries(self, status: int) -> bool:
        """Whether an answer with this status is worth another send."""
        return status in RETRIED_STATUSES or status in self.extra_codes

    def delay(
        self, sends: int, retry_after: float | None, uniform: Callable[[float, float], float]
    ) -> float:
        """Seconds to wait after the send number ``sends`` that counted (0 under maintenance).

        ``retry_after`` is what the server asked for, in seconds; it is not undercut, but an hour
        is the most that is waited. ``uniform(a, b)`` draws a random number between the two.
        """
        if retry_after is not None:
            asked = min(retry_after, LONGEST_WAIT)
            return min(uniform(asked, asked * (1 + self.jitter_factor)), LONGEST_WAIT)
        mean = float(2 ** min(sends, 10))
        if self.jitter_factor <= 0:
            return mean
        return mean * _clamped_exponential(self.jitter_factor, uniform)


def _clamped_exponential(factor: float, uniform: Callable[[float, float], float]) -> float:
    """A draw from an exponential distribution of mean 1, kept within ``[low, 1 + factor]``.

    ``low`` is chosen so that as much probability lies between it and the median as between the
    median and the upper bound; the mean so stays about 1 (0.824 for a factor of 0.2).
    """
    high = 1 + factor
    low = 0.0 if high >= 50 else math.log2(2**high / (2**high - 1))
    drawn = uniform(1 - math.exp(-low), 1 - math.exp(-high))
    return -math.log(max(1 - drawn, 1e-10))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that a ``Retry-After`` header asks for; None when it says nothing usable.

    Both forms of RFC 9110 are read: a number of seconds (fractions too) and an HTTP date, of
    which a past one means 0. ``now`` is timezone-aware.
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
