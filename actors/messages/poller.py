"""What the Poller is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PollNow:
    """Order: there is capacity, or work; do not wait for the next turn."""
