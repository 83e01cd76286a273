"""How much memory runs and their machine use, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .ids import ClaimKey

MEBIBYTE = 1024 * 1024
"""What ``memory_limit_mb`` counts in."""

RELIEF_PERCENT = 2.0
"""A shortage is over so far below its threshold, so that it does not come and go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """What was measured."""

    host_percent: float
    """How much of the machine's memory, or of the container's where that is less, is in use."""
    runs: Mapping[ClaimKey, int] = field(default_factory=dict)
    """Bytes that all processes of a run hold together, of those that were to be measured."""


def is_short(sample: MemorySample, *, threshold_percent: float, was_short: bool) -> bool:
    """Whether there is too little memory to take in more runs."""
    relief = RELIEF_PERCENT if was_short else 0.0
    return sample.host_percent >= threshold_percent - relief


def exceeds(used_bytes: int, limit_mb: float | None) -> bool:
    """Whether a run holds more than its limit; None: it has none."""
    return limit_mb is not None and used_bytes > limit_mb * MEBIBYTE
