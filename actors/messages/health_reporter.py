"""About the worker's health: facts for, and questions to, the HealthReporter."""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime import Query


@dataclass(frozen=True, slots=True)
class Polled:
    """Fact: a poll was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PollFailed:
    """Fact: a poll was not answered; the cause in words."""

    cause: str


@dataclass(frozen=True, slots=True)
class Beaten:
    """Fact: a heartbeat was answered."""


@dataclass(frozen=True, slots=True)
class PollingOver:
    """Fact: there will be no more polls; heartbeats go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The verdict behind ``/health`` and ``/ready``."""

    healthy: bool
    """Whether a poll was answered not too long ago."""
    ready: bool
    """Whether the last poll was answered, and the server has announced no maintenance."""
    seconds_since_poll: float
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class CurrentHealth(Query[Health]):
    """Question: the verdict now."""
