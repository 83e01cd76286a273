"""The keeper's loop with a clock that the test moves; nothing is watched."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from actors.keeper.loop import Loop, Timer


class ManualLoop(Loop):
    """Owns: time, _timers (what is due when)."""

    def __init__(self) -> None:
        self.time = 0.0
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """The time that the test has set."""
        return self.time

    def watch(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        """Nobody looks: the test calls what is to be called."""

    def unwatch(self, descriptor: int) -> None:
        """Likewise."""

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and call what is due meanwhile."""
        until = self.time + seconds
        while self._timers and self._timers[0][0] <= until:
            self.time, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self.time = until
