"""Signals to the worker. Each further stop signal asks more firmly."""

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
"""What the next signal does; it gets the signal's number."""


@contextmanager
def stop_signals(steps: Sequence[tuple[str, Step]]) -> Iterator[None]:
    """While inside, each stop signal takes the next of ``steps``; the last step repeats.

    The log shows a step's name. Outside, the signals have their default effect.
    """
    loop = asyncio.get_running_loop()
    asked = 0

    def ask(number: int) -> None:
        nonlocal asked
        name, step = steps[min(asked, len(steps) - 1)]
        asked += 1
        log.info("worker.signal", signal=signal.Signals(number).name, times=asked, then=name)
        step(number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, ask, number)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


@contextmanager
def on_signal(number: signal.Signals, act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` for each signal of this number while inside.

    One that was ignored when the process started (nohup(1)) stays ignored.
    """
    if signal.getsignal(number) is signal.SIG_IGN:
        yield
        return
    loop = asyncio.get_running_loop()

    def heard() -> None:
        log.info("worker.signal", signal=number.name)
        act()

    loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
