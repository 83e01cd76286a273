"""How many requests may be in flight at once, and which one is next.

The limit adapts to the server, much like TCP's congestion control. The times of each full round of
answers are compared with what such requests take when no other is in flight. If they are hardly
longer, the server bears more, and the limit grows by one. If they are nearly twice as long, the
last request in flight gained nothing, and the limit falls by one. A server is overloaded if it
answers 429 or 503, not in time, or far later than usual: that halves the limit. A limit that has
fallen takes many rounds to grow.

A Prefect server on SQLite does one write at a time, and may freeze while one waits for another's
lock: there the limit settles at one write, seldom two. Reads have a limiter of their own.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from operator import itemgetter
from typing import Final

CAUTIOUS_ROUNDS: Final = 20
"""Rounds of fast answers until the limit grows, once it has fallen."""

FIRST_ROUNDS: Final = 5
"""Rounds of one request until the limit first grows, to learn what is usual."""

FAST: Final = 1.5
"""Up to this multiple of the usual time, an answer is fast: the server bears more."""

SLOW: Final = 1.75
"""From this multiple of the usual time on, the last request in flight gained nothing.

A server that does one thing at a time takes twice as long for each of two.
"""

FAST_SECONDS: Final = 0.02
"""An answer within this time is fast, whatever is usual."""

OVERLOADED: Final = 10.0
"""From this multiple of the usual time on, the server is overloaded."""

OVERLOADED_SECONDS: Final = 1.0
"""But not if the answer took less than this."""

UNKNOWN_SECONDS: Final = 1.0
"""The usual time of requests that were never measured."""

FAIR_TURN: Final = 8
"""Every 8th permit goes to the request that has waited longest, so that none starves."""


class Priority(IntEnum):
    """The order in which requests wait."""

    VITAL = 0
    """Polls and heartbeats: few, one after the other. They never wait."""
    STATE = 1
    """Claims and reports."""
    READ = 2
    """Reads that the start of a run needs."""
    DETAIL = 3
    """Whatever may come later: pids, labels, logs, events."""


class UsualSeconds:
    """A moving average of the time that requests of one kind take when no other is in flight.

    It falls fast and rises slowly, so that one hanging request hardly changes it.
    """

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def of(self, kind: Hashable) -> float:
        return self._seconds.get(kind, UNKNOWN_SECONDS)

    def knows(self, kind: Hashable) -> bool:
        return kind in self._seconds

    def measured(self, kind: Hashable, seconds: float) -> None:
        before = self._seconds.setdefault(kind, seconds)
        pace = 0.5 if seconds < before else 0.1
        self._seconds[kind] = before + pace * (min(seconds, 2 * before) - before)


class AdaptiveLimit:
    """The rule, without waiting. A *ticket* numbers the requests in order of admission.

    ``_paces`` are the times of this round's answers, as multiples of the usual time.
    """

    def __init__(self, *, maximum: int, start: int | None = None) -> None:
        self.maximum = maximum
        self.value = min(maximum, maximum if start is None else start)
        """How many requests may be in flight; at least 1."""
        self._paces: list[float] = []
        self._fast_rounds = 0
        self._last_ticket = 0
        self._fallen_at = 0

    def admitted(self) -> int:
        """Count one more request and return its ticket."""
        self._last_ticket += 1
        return self._last_ticket

    def is_latest(self, ticket: int) -> bool:
        """Whether no request was admitted since."""
        return ticket == self._last_ticket

    def answered(self, ticket: int, seconds: float, *, usual: float, full: bool = True) -> None:
        """An answer came after so many seconds; ``usual`` are those of such a request alone.

        ``full``: as many were in flight as the limit allows. Only then the answer tells whether
        the server bears that many.
        """
        if seconds > max(OVERLOADED * usual, OVERLOADED_SECONDS):
            self.overloaded(ticket)
        elif full and ticket > self._fallen_at:
            self._paces.append(1.0 if seconds <= FAST_SECONDS else seconds / max(usual, 1e-9))
            if len(self._paces) >= self.value:
                self._end_round(sum(self._paces) / len(self._paces))

    def overloaded(self, ticket: int) -> None:
        """The request with this ticket met an overloaded server: halve the limit.

        Requests that were in flight when the limit last fell say nothing new.
        """
        if ticket > self._fallen_at:
            self._fall_to(self.value // 2)

    @property
    def _rounds_to_grow(self) -> int:
        if self._fallen_at:
            return CAUTIOUS_ROUNDS
        return FIRST_ROUNDS if self.value == 1 else 1

    def _end_round(self, pace: float) -> None:
        self._paces.clear()
        if pace >= SLOW and self.value > 1:
            self._fall_to(self.value - 1)
        elif pace <= FAST:
            self._fast_rounds += 1
            if self._fast_rounds >= self._rounds_to_grow:
                self._fast_rounds = 0
                self.value = min(self.maximum, self.value + 1)

    def _fall_to(self, limit: int) -> None:
        self.value = max(1, limit)
        self._fallen_at = self._last_ticket
        self._fast_rounds = 0
        self._paces.clear()


@dataclass(slots=True, kw_only=True)
class Permit:
    """One request that may be in flight."""

    ticket: int
    was_alone: bool
    """Whether no other was in flight when it was admitted."""
    was_full: bool
    """Whether as many were in flight as the limit allows, itself included."""
    counts: bool
    """Whether it counts towards the limit."""


_Waiting = tuple[Priority, int, asyncio.Future[None]]
"""A request that waits for a permit, and its number in order of arrival."""


class ConcurrencyLimiter:
    """Grants permits by priority, as many at once as the limit allows.

    A request that hangs stops counting (:meth:`release_early`), but there are never more in flight
    than the limit's maximum.
    """

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.usual = UsualSeconds()
        self.in_flight = 0
        self._counting = 0
        self._held = 0
        self._arrivals = 0
        self._grants = 0
        self._waiting: list[_Waiting] = []

    @asynccontextmanager
    async def permit(self, priority: Priority) -> AsyncIterator[Permit]:
        """Wait for a permit and hold it; vital requests get one at once."""
        counts = priority is not Priority.VITAL
        if counts:
            await self._acquire(priority)
        self.in_flight += 1
        permit = Permit(
            ticket=self.limit.admitted(),
            was_alone=self.in_flight == 1,
            was_full=counts and self._counting >= self.limit.value,
            counts=counts,
        )
        try:
            yield permit
        finally:
            self.in_flight -= 1
            self._held -= counts
            self.release_early(permit)
            self._grant()

    def release_early(self, permit: Permit) -> None:
        """This request hangs: it holds up no other from now on."""
        if permit.counts:
            permit.counts = False
            self._counting -= 1
            self._grant()

    def answered(self, permit: Permit, kind: Hashable, seconds: float) -> None:
        """Learn from an answer how many requests the server bears."""
        was_alone = permit.was_alone and self.limit.is_latest(permit.ticket)
        if was_alone or (self.usual.knows(kind) and seconds < self.usual.of(kind)):
            self.usual.measured(kind, seconds)
        self.limit.answered(
            permit.ticket,
            seconds,
            usual=self.usual.of(kind),
            full=permit.was_full and self.usual.knows(kind),
        )

    @property
    def _has_room(self) -> bool:
        return self._counting < self.limit.value and self._held < self.limit.maximum

    def _take(self) -> None:
        self._counting += 1
        self._held += 1

    async def _acquire(self, priority: Priority) -> None:
        if not self._waiting and self._has_room:
            self._take()
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        waiting = (priority, self._arrivals, granted)
        insort(self._waiting, waiting)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._counting -= 1  # granted already: pass it on
                self._held -= 1
                self._grant()
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _grant(self) -> None:
        while self._waiting and self._has_room:
            self._grants += 1
            fair = self._grants % FAIR_TURN == 0
            waiting = min(self._waiting, key=itemgetter(1)) if fair else self._waiting[0]
            self._waiting.remove(waiting)
            granted = waiting[2]
            if not granted.done():
                self._take()
                granted.set_result(None)
