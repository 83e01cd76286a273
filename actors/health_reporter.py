"""Gathers what is known about the worker's health and gives the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from .domain.log_once import LogOnce
from .domain.policy import is_healthy
from .domain.ports import Clock
from .messages.guardian import Stage
from .messages.health_reporter import (
    Beaten,
    CurrentHealth,
    Health,
    Polled,
    PollFailed,
    PollingOver,
)
from .messages.services import Peers
from .runtime import AsyncioActor

log = structlog.get_logger("actors.health_reporter")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReporterView:
    """What the HealthReporter shows of itself."""

    polls: bool
    """Whether there are more polls to come."""
    last_poll: float
    """When a poll was answered last, on the monotonic clock."""
    last_beat: float
    is_ready: bool
    last_error: str | None


class HealthReporter(AsyncioActor):
    """Owns: _last_poll, _last_beat, _polls, _ready, _last_error.

    After a restart the grace period starts anew, and the Guardian tells whether there are polls
    to come: the Poller of a worker that drains has said PollingOver once, and does not repeat it.

    ``excused_until`` tells until when the server has announced maintenance, on the monotonic
    clock.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        query_seconds: float,
        heartbeat_seconds: float,
        excused_until: Callable[[], float | None],
        peers: Peers,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._query_seconds = query_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._excused_until = excused_until
        self._peers = peers
        self._last_beat = clock.monotonic()
        self._polls = True
        self._complaint = LogOnce()
        self._last_poll = clock.monotonic()  # the clock starts at construction
        self._ready = False
        self._last_error: str | None = None

    def inspect(self) -> HealthReporterView:
        return HealthReporterView(
            polls=self._polls,
            last_poll=self._last_poll,
            last_beat=self._last_beat,
            is_ready=self._ready,
            last_error=self._last_error,
        )

    def on_start(self) -> None:
        """Ask where the worker is in its life."""
        self.pipe(self._peers.stage(), on_result=lambda stage: stage)

    def on_receive(self, message: object) -> Health | None:
        match message:
            case Polled():
                self._last_poll = self._clock.monotonic()
                self._ready, self._last_error = True, None
            case PollFailed(cause=cause):
                self._ready, self._last_error = False, cause
            case Beaten():
                self._last_beat = self._clock.monotonic()
            case PollingOver() | Stage.DRAINING | Stage.ENDING:
                self._polls = False
            case Stage.WORKING:
                pass
            case CurrentHealth():
                return self._verdict()
            case _:
                super().on_receive(message)
        return None

    def _verdict(self) -> Health:
        """A worker that drains polls no more, but goes on to send heartbeats."""
        last, interval = self._last_poll, self._query_seconds
        if not self._polls:
            last = max(last, self._last_beat)
            interval = max(interval, self._heartbeat_seconds)
        now, excused_until = self._clock.monotonic(), self._excused_until()
        healthy = is_healthy(
            now=now, last_poll=last, query_seconds=interval, excused_until=excused_until
        )
        silent_seconds = max(now - last, 0.0)
        is_maintained = excused_until is not None and now < excused_until
        if healthy:
            self._complaint.resolve()
        elif self._complaint.report("silent"):
            log.error(
                "worker.unhealthy",
                silent_seconds=round(silent_seconds),
                error=self._last_error,
                hint="The server has not answered for long; /health says 503 until it does.",
            )
        return Health(
            healthy=healthy,
            ready=self._ready and not is_maintained,
            seconds_since_poll=silent_seconds,
            last_error=self._last_error,
        )
