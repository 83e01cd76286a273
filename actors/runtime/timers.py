"""Messages that an actor sends itself later: once, or again and again."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from .clock import Clock
from .query import Order

if TYPE_CHECKING:
    from .actor import AsyncioActor


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
        self, actor: AsyncioActor, next_delay: Callable[[], float], message: Any, first: float
    ) -> None:
        self.message = message
        self._actor = actor
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
        self._timer = self._actor._actor_call_later(delay, self._fire)

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
        self._actor.actor_ref.tell_if_alive(_Tick(self))

    async def _handle(self, actor: AsyncioActor) -> None:
        self._queued = self._held = self._again = False
        if self._cancelled:
            return
        response = actor._handle_receive(self.message)
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

    def carry_out(self, actor: AsyncioActor) -> Any:
        return self._ticker._handle(actor)
