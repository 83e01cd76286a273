"""Signals that ask the worker to stop: asking again is asking more firmly."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Step = Callable[[int], None]
"""What one more signal sets off; it is told the signal's number."""


class Escalation:
    """Carries out ``steps`` in turn, one a signal; the last one again for every further signal."""

    def __init__(self, steps: Sequence[tuple[str, Step]]) -> None:
        self._steps = steps
        self._asked = 0

    def ask(self, number: int) -> None:
        """A signal came."""
        name, step = self._steps[min(self._asked, len(self._steps) - 1)]
        self._asked += 1
        log.info("worker.signal", signal=signal.Signals(number).name, times=self._asked, then=name)
        step(number)


@contextmanager
def stop_signals(escalation: Escalation) -> Iterator[None]:
    """Send stop signals to ``escalation`` while inside; outside they do what they did before."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, escalation.ask, number)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
