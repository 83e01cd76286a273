"""A single-threaded event loop: descriptors, timers and signals."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable

Callback = Callable[[], None]

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Timer:
    """A call that is due later and can be cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Harmless when it was called already."""
        self.callback = None


class Loop:
    """Owns: _selector, _timers, _wake (the pipe that signals write to)."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = True
        self._wake = os.pipe()
        for descriptor in self._wake:
            os.set_blocking(descriptor, False)

    def catch(self, signals: dict[int, Callback]) -> None:
        """Calls these on the loop when their signals arrive; several may arrive as one."""
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: None)

        def woken() -> None:
            with contextlib.suppress(BlockingIOError):
                for number in set(os.read(self._wake[0], 4096)):
                    if number in signals:
                        signals[number]()

        self.watch(self._wake[0], READ, lambda _: woken())

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        return time.monotonic()

    def call_later(self, delay: float, callback: Callback) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (self.now() + delay, next(self._order), timer))
        return timer

    def watch(self, descriptor: int, events: int, callback: Callable[[int], None]) -> None:
        """Calls ``callback`` with the events (READ, WRITE) that ``descriptor`` is ready for."""
        try:
            self._selector.modify(descriptor, events, callback)
        except KeyError:
            self._selector.register(descriptor, events, callback)

    def unwatch(self, descriptor: int) -> None:
        """Must come before the descriptor is closed. Harmless when it is not watched."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def stop(self) -> None:
        """Lets run() return after this turn."""
        self._running = False

    def run(self) -> None:
        while self._running:
            due = self._timers[0][0] - self.now() if self._timers else None
            for key, mask in self._selector.select(None if due is None else max(0.0, due)):
                current = self._selector.get_map().get(key.fd)
                if current is not None and current.data is key.data:  # not unwatched this turn
                    _call(key.data, mask)
            now = self.now()
            while self._timers and self._timers[0][0] <= now:
                callback = heapq.heappop(self._timers)[2].callback
                if callback is not None:
                    _call(callback)


def _call(callback: Callable[..., None], *arguments: int) -> None:
    """Logs what goes wrong with one run: it must not end the others."""
    try:
        callback(*arguments)
    except Exception:
        sys.excepthook(*sys.exc_info())
