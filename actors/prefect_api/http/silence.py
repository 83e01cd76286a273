"""Whether the server hangs: it takes requests and answers none of them."""

from __future__ import annotations

import math
from collections.abc import Callable

import structlog

from ...domain.ports import Clock

_log = structlog.get_logger(__name__)


class Silence:
    """Logs once that the server hangs, and once that it answers again.

    One request that hangs while others are answered is no hanging server. Owns: _last_answer and
    _since, when the request was sent that is the first without an answer.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_answer = -math.inf
        self._since: float | None = None

    def lasts_since(self, moment: float) -> bool:
        """Whether nothing was answered since then, on the monotonic clock."""
        return self._last_answer < moment

    def report(self, what: str, sent_at: float) -> None:
        """A request that was sent then has waited for far too long."""
        if self._since is not None:
            return
        self._since = sent_at
        seconds = self._clock.monotonic() - sent_at
        _log.warning(
            "api.server_hangs",
            request=what,
            silent_seconds=round(seconds, 1),
            hint="It has answered nothing since; runs go on. A server on SQLite may do so under "
            "load: see the README.",
        )

    def answered(self) -> None:
        """An answer came, whichever it was."""
        self._last_answer = self._clock.monotonic()
        if self._since is not None:
            _log.info(
                "api.server_answers", silent_seconds=round(self._last_answer - self._since, 1)
            )
            self._since = None


class Alarm:
    """Calls ``ring`` every ``seconds`` until it is cancelled."""

    def __init__(self, clock: Clock, seconds: float, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ring = ring
        self._timer = clock.call_later(seconds, self._on_time)

    def cancel(self) -> None:
        """Ring no more."""
        self._timer.cancel()

    def _on_time(self) -> None:
        self._timer = self._clock.call_later(self._seconds, self._on_time)
        self._ring()
