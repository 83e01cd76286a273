"""The clock of an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class LoopClock:
    """The time of the event loop it is used on; follows a virtual loop as it does a real one.

    ``epoch`` is the wall clock at the loop's time zero, for loops that keep a time of their own.
    None, the default, reads the system's wall clock.
    """

    def __init__(self, epoch: datetime | None = None) -> None:
        self._epoch = epoch

    def now(self) -> datetime:
        """The wall clock, timezone-aware in UTC."""
        if self._epoch is None:
            return datetime.now(UTC)
        return self._epoch + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """The loop's time in seconds. RuntimeError where no loop runs."""
        return asyncio.get_running_loop().time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``callback`` on the running loop after ``delay`` seconds."""
        return asyncio.get_running_loop().call_later(delay, callback)

    async def sleep(self, delay: float) -> None:
        """Return after ``delay`` seconds of the loop's time."""
        await asyncio.sleep(delay)
