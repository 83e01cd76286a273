"""An event loop whose time is virtual: hours pass in milliseconds, the same way every time."""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from ..runtime import LoopClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = datetime(2030, 1, 1, tzinfo=UTC)
"""The wall clock at a virtual loop's time zero, unless a test says otherwise."""


class Deadlock(RuntimeError):
    """Every task waits, and there is no timer that could ever wake one."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: when nothing is ready, time jumps to the next timer.

    ``asyncio.sleep``, ``asyncio.timeout``, ``call_later`` and so LoopClock follow its time, which
    begins at zero; ``clock`` also gives it a wall clock that begins at ``start``. ``at_rest`` is
    called before each jump, when everything that can happen at this time has happened; it may not
    raise.

    For one thread and no I/O. Neither a thread nor a socket could wake the loop, whose time would
    run away meanwhile: executors and ``call_soon_threadsafe`` from other threads are refused with
    RuntimeError, and what waits for a socket alone ends in Deadlock.
    """

    def __init__(
        self, start: datetime = START, *, at_rest: Callable[[], None] | None = None
    ) -> None:
        self._jumps = _Jumps(self, at_rest)
        super().__init__(self._jumps)
        self._thread = threading.get_ident()
        self.clock = LoopClock(epoch=start)

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._jumps.now

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """As ``call_soon``. RuntimeError from another thread."""
        if threading.get_ident() != self._thread:
            self._refuse_threads()
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> NoReturn:
        """RuntimeError: there are no threads in virtual time."""
        self._refuse_threads()

    def _refuse_threads(self) -> NoReturn:
        raise RuntimeError("A virtual loop knows no threads: their time is not virtual.")


class _Jumps(selectors.SelectSelector):
    """Instead of waiting for events, let the time pass."""

    def __init__(self, loop: VirtualLoop, at_rest: Callable[[], None] | None) -> None:
        super().__init__()
        self.now = 0.0
        self._loop = loop
        self._at_rest = at_rest

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock(_who_waits(self._loop))
        if timeout > 0:
            if self._at_rest is not None:
                self._at_rest()
            self.now += timeout
        return []


def _who_waits(loop: asyncio.AbstractEventLoop) -> str:
    lines = ["Nothing is ready and no timer is set, so these would wait forever:"]
    for task in asyncio.all_tasks(loop):
        frames = task.get_stack(limit=1)
        where = f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}" if frames else "?"
        lines.append(f"  {task.get_name()} at {where}")
    return "\n".join(sorted(lines, key=lambda line: line.startswith("  ")))


def run_virtual(main: Coroutine[Any, Any, T], *, start: datetime = START) -> T:
    """Run ``main`` to its end as ``asyncio.run`` does, in virtual time.

    ``start`` is the wall clock of the loop's ``clock`` at the beginning.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(start)) as runner:
        return runner.run(main)
