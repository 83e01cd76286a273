"""How often, how many, how healthy: decisions that need only numbers, and chance passed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


def jittered(interval: float, rng: Random, *, spread: float = 0.3) -> float:
    """A wait of ``interval`` seconds on average, so that many workers do not act in step.

    Drawn from an exponential distribution cut off at ``(1 + spread)`` times the interval, and
    below so that as much lies under the median as above it: with 0.3 within [0.752, 1.3] times
    the interval, with 0.2 within [0.824, 1.2], the bounds of Prefect's own jitter.
    """
    if interval <= 0 or spread <= 0:
        return max(interval, 0.0)
    longest = 1 + spread
    shortest = math.log2(2.0**longest / (2.0**longest - 1.0))
    survival = rng.uniform(math.exp(-longest), math.exp(-shortest))
    return -math.log(survival) * interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that double with each failure in a row. Seconds."""

    initial: float = 1.0
    ceiling: float = 60.0

    def delay(self, failures: int, rng: Random) -> float:
        """How long to wait after ``failures`` in a row (1: the first); 0 after none."""
        return jittered(self.bare_delay(failures), rng, spread=0.2)

    def bare_delay(self, failures: int) -> float:
        """The same without chance."""
        if failures <= 0:
            return 0.0
        doublings = min(failures - 1, 64)  # few enough for a float
        return min(self.initial * 2.0**doublings, self.ceiling)


POLLS_MISSED: Final = 30
"""A worker is unhealthy after so many poll intervals without a poll, as Prefect's own is."""


def is_healthy(
    *, now: float, last_poll: float, query_seconds: float, excused_until: float | None = None
) -> bool:
    """Whether the last successful poll is recent enough.

    Times are of one clock, in seconds; ``last_poll`` starts as the time of the worker's start.
    ``excused_until`` is when the server's announced maintenance ends.
    """
    since = last_poll if excused_until is None else max(last_poll, excused_until)
    return now - since <= query_seconds * POLLS_MISSED


class OnDeadline(StrEnum):
    """What becomes of runs that are still there when the worker cannot wait any longer."""

    TERMINATE = "terminate"
    """End their trees and report them as crashed: worker stopped."""
    LEAVE = "leave"
    """The keeper holds them for the next worker."""
