"""What the CancellationWatcher is told."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.ids import FlowRunId


@dataclass(frozen=True, slots=True)
class LookNow:
    """Order: look for runs that are being cancelled; do not wait for the next turn."""


@dataclass(frozen=True, slots=True)
class RunCancelling:
    """Fact: the server's event stream says that this run is being cancelled."""

    run_id: FlowRunId


@dataclass(frozen=True, slots=True)
class EventsFlow:
    """Fact: whether every cancellation from now on is told at once. May be repeated."""

    flowing: bool
