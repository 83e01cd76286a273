"""Gathers what is known about the worker's health and gives the verdict."""

from __future__ import annotations

import structlog

from .domain.policy import health
from .domain.ports import Clock
from .messages.health import CurrentHealth, Health, Polled, PollFailed
from .runtime import AsyncioActor

log = structlog.get_logger("actors.health_reporter")

Message = Polled | PollFailed | CurrentHealth


class HealthReporter(AsyncioActor):
    """Owns: _last_poll, _ready, _last_error. After a restart the grace period starts anew."""

    def __init__(self, *, clock: Clock, query_seconds: float) -> None:
        super().__init__(clock=clock)
        self._clock = clock
        self._query_seconds = query_seconds
        self._last_poll = clock.monotonic()  # the clock starts at construction (contract 15)
        self._ready = False
        self._last_error: str | None = None

    def on_receive(self, message: Message) -> Health | None:
        """Facts are noted, questions answered at once."""
        match message:
            case Polled():
                self._last_poll = self._clock.monotonic()
                self._ready, self._last_error = True, None
            case PollFailed(cause=cause):
                self._ready, self._last_error = False, cause
            case CurrentHealth():
                return self._verdict()
        return None

    def _verdict(self) -> Health:
        verdict = health(
            now=self._clock.monotonic(),
            last_poll=self._last_poll,
            query_seconds=self._query_seconds,
        )
        return Health(
            healthy=verdict.healthy,
            ready=self._ready,
            seconds_since_poll=verdict.silent_seconds,
            last_error=self._last_error,
        )
