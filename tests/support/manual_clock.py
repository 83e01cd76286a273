"""A clock that moves when a test says so, for code that also does real I/O."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

START = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(eq=False)
class _Timer:
    due: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class ManualClock:
    """Timers go off in :meth:`advance`; a sleep is over at once and moves the time itself."""

    start: datetime = START
    sleeps: list[float] = field(default_factory=list)
    """The seconds of every sleep so far."""
    _time: float = 0.0
    _timers: list[_Timer] = field(default_factory=list)

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self._time)

    def monotonic(self) -> float:
        return self._time

    def call_later(self, delay: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer(self._time + delay, callback)
        self._timers.append(timer)
        return timer

    async def sleep(self, delay: float) -> None:
        self.sleeps.append(delay)
        self.advance(delay)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._time += seconds
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        for timer in sorted(self._timers, key=lambda timer: timer.due):
            if timer.due <= self._time and not timer.cancelled:
                timer.cancel()
                timer.callback()
