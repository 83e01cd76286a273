"""Whether the server hangs: it takes requests and answers none of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import structlog

from ...domain.ports import Clock

_log = structlog.get_logger(__name__)


class HangDetector:
    """Logs once that the server hangs, and once that it answers again.

    A request that hangs while others are answered does not count. ``_silent_since`` is when the
    first request without an answer was sent.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_answer = -math.inf
        self._silent_since: float | None = None

    def is_silent_since(self, moment: float) -> bool:
        """Whether nothing was answered since ``moment`` on the monotonic clock."""
        return self._last_answer < moment

    def report(self, what: str, sent_at: float) -> None:
        """The request ``what`` was sent then, and nothing has been answered since."""
        if self._silent_since is not None:
            return
        self._silent_since = sent_at
        seconds = self._clock.monotonic() - sent_at
        _log.warning(
            "api.server_hangs",
            request=what,
            silent_seconds=round(seconds, 1),
            hint="It has answered nothing since; runs go on. A server on SQLite may do so under "
            "load: see the README.",
        )

    def answered(self) -> None:
        """The server has answered a request."""
        self._last_answer = self._clock.monotonic()
        if self._silent_since is not None:
            seconds = self._last_answer - self._silent_since
            _log.info("api.server_answers", silent_seconds=round(seconds, 1))
            self._silent_since = None


class RepeatingTimer:
    """Calls ``callback`` every ``seconds`` until it is cancelled."""

    def __init__(self, clock: Clock, seconds: float, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._callback = callback
        self._timer = clock.call_later(seconds, self._on_time)

    def cancel(self) -> None:
        """Stop."""
        self._timer.cancel()

    def _on_time(self) -> None:
        self._timer = self._clock.call_later(self._seconds, self._on_time)
        self._callback()
