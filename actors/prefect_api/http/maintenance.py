"""Maintenance that the server has announced, and the requests that wait for its end."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ...domain.log_once import LogOnce
from ...domain.ports import Clock

LONG_WAIT: Final = 60.0
"""Waits of at least so many seconds are logged."""

SHORTEST_SLEEP: Final = 2.0
"""Seconds to wait at least, even if the server answers other requests meanwhile."""

_log = structlog.get_logger(__name__)


class Maintenance:
    """``_sleeps`` are the waits in progress, and when they began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleeps: dict[asyncio.Future[None], float] = {}
        self._long_wait = LogOnce()
        self.until: float | None = None
        """Its end on the monotonic clock, maybe past; None: the server never announced any."""

    async def wait(self, seconds: float, *, asked: float | None) -> None:
        """Wait for ``seconds``, or until the server has answered another request.

        ``asked`` are the seconds of the server's Retry-After header.
        """
        now = self._clock.monotonic()
        self.until = max(now + seconds, self.until or now)
        if seconds >= LONG_WAIT and self._long_wait.report("maintenance"):
            _log.warning(
                "api.told_to_wait",
                asked_seconds=asked,
                granted_seconds=round(seconds, 1),
                hint="The server announced maintenance; it is asked again then.",
            )
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        self._sleeps[sleep] = now
        try:
            await asyncio.wait([sleep])
        finally:
            del self._sleeps[sleep]
            sleep.cancel()

    def is_over(self) -> None:
        """The server has answered a request, so nobody needs to wait any longer."""
        now = self._clock.monotonic()
        self._long_wait.resolve()
        if self.until is not None:
            self.until = min(self.until, now)
        for sleep, since in self._sleeps.items():
            if now - since >= SHORTEST_SLEEP:
                sleep.cancel()

    def close(self) -> None:
        """End all waits."""
        for sleep in self._sleeps:
            sleep.cancel()
