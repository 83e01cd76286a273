"""What an actor waits for beside its mailbox: tasks, and messages that it sends itself later."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, TypeVar

from .clock import Clock
from .errors import WaitCancelled
from .query import Fail, Order

T = TypeVar("T")


class Waits:
    """Owns: the tasks and timers of the actor ``name``, which ``tell`` tells of their results."""

    def __init__(self, name: str, clock: Clock, tell: Callable[[Any], object]) -> None:
        self._name = name
        self.tasks: set[asyncio.Task[Any]] = set()
        self.timers: set[Timer] = set()
        self.tell = tell
        self._clock = clock

    def pipe(
        self,
        awaitable: Awaitable[T],
        on_result: Callable[[T], Any],
        on_error: Callable[[Exception], Any] | None,
    ) -> asyncio.Task[T]:
        """Begin to await; see ``AsyncioActor.pipe``."""
        work = awaitable if isinstance(awaitable, CoroutineType) else _await(awaitable)
        task: asyncio.Task[T] = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(functools.partial(self._piped, on_result, on_error))
        return task

    def _piped(
        self,
        on_result: Callable[[T], Any],
        on_error: Callable[[Exception], Any] | None,
        task: asyncio.Task[T],
    ) -> None:
        self.tasks.discard(task)
        if task.cancelled() and task.cancelling():
            return  # called off, not failed
        error = (
            WaitCancelled(f"What {self._name} awaited was cancelled")
            if task.cancelled()
            else task.exception()
        )
        try:
            if error is None:
                message = on_result(task.result())
            elif on_error is not None and isinstance(error, Exception):
                message = on_error(error)
            else:
                message = Fail(error)
        except Exception as raised:
            message = Fail(raised)
        self.tell(message)

    def call_later(self, delay: float, ring: Callable[[], object]) -> Timer:
        """Call ``ring`` after ``delay`` seconds."""
        return Timer(self._clock, delay, ring, self.timers)

    async def end(self) -> None:
        """Cancel everything, and return when the tasks are over."""
        for timer in tuple(self.timers):
            timer.cancel()
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


class Timer:
    """One call after ``delay`` seconds. It is in ``pending`` until it rang or was cancelled."""

    __slots__ = ("_handle", "_pending", "_ring")

    def __init__(
        self, clock: Clock, delay: float, ring: Callable[[], object], pending: set[Timer]
    ) -> None:
        self._ring = ring
        self._pending = pending
        self._handle = clock.call_later(delay, self._on_time)
        pending.add(self)

    def _on_time(self) -> None:
        self._pending.discard(self)
        self._ring()

    def cancel(self) -> None:
        """Call it off. A message that is in the mailbox already stays there."""
        self._pending.discard(self)
        self._handle.cancel()


class Ticker:
    """Tells its actor ``message`` again and again; made by ``AsyncioActor.every``.

    It is armed again only when a tick was handled, with ``next_delay()`` seconds, so that ticks
    never pile up however slow the handler is. To back off, return longer delays.
    """

    def __init__(
        self, waits: Waits, next_delay: Callable[[], float], message: Any, first: float
    ) -> None:
        self.message = message
        self._waits = waits
        self._next_delay = next_delay
        self._timer: Timer | None = None
        self._queued = self._held = self._again = self._cancelled = False
        self.rearm(first)

    def hold(self) -> None:
        """Called while a tick is handled: its work goes on, ``rearm()`` will be called."""
        self._held = True

    def rearm(self, delay: float | None = None) -> None:
        """Arm for the next tick, unless it is: in ``delay`` seconds, by default next_delay().

        After a ``wake()`` that came while the tick was handled, or held, the next one comes at
        once.
        """
        if self._cancelled or self._queued or self._timer is not None:
            return
        if self._again:
            delay = 0.0
        elif delay is None:
            delay = self._next_delay()
        self._timer = self._waits.call_later(delay, self._fire)

    def wake(self) -> None:
        """Tick now, or, where a tick is being handled, again right after it."""
        if self._timer is None:
            self._again = True
        else:
            self._timer.cancel()
            self._fire()

    def cancel(self) -> None:
        """No more ticks, not even one that is in the mailbox already."""
        self._cancelled = True
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        self._queued = True
        self._waits.tell(_Tick(self))

    async def handle(self, handle_message: Callable[[Any], Any]) -> None:
        """Handle a tick that has come, and arm again."""
        self._queued = self._held = self._again = False
        if self._cancelled:
            return
        response = handle_message(self.message)
        if isinstance(response, CoroutineType):
            await response
        if not self._held:
            self.rearm()


class _Tick(Order):
    __slots__ = ("_ticker",)

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker

    @property
    def subject(self) -> object:
        return self._ticker.message

    def carry_out(self, actor: Any) -> Any:
        return self._ticker.handle(actor._actor_handle)
