"""How much memory runs and their machine use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .ids import ClaimKey

MEBIBYTE = 1024 * 1024
"""The unit of ``memory_limit_mb``, in bytes."""

RELIEF_PERCENT = 2.0
"""How far below its threshold a shortage ends, so that it does not flicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """Measured at one moment."""

    host_percent: float
    """Memory in use, of the machine's or of the container's limit, whichever is smaller."""
    runs: Mapping[ClaimKey, int] = field(default_factory=dict)
    """Bytes that the processes of each measured run hold together."""


def is_short(sample: MemorySample, *, threshold_percent: float, was_short: bool) -> bool:
    """Whether there is too little memory to take in more runs."""
    relief = RELIEF_PERCENT if was_short else 0.0
    return sample.host_percent >= threshold_percent - relief


def exceeds(used_bytes: int, limit_mb: float | None) -> bool:
    """Whether a run holds more than its limit; None: no limit."""
    return limit_mb is not None and used_bytes > limit_mb * MEBIBYTE
