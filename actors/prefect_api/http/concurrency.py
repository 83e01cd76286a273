"""How many requests may be under way at once, and whose turn it is.

As many as make use of the server, after the rules of TCP's congestion control. Each full round of
answers is compared with how long such requests take when no other is in flight. Where they take
hardly longer the server bears more, and the number grows by one. Where they take nearly twice as
long, or longer, the last one won nothing, and the number falls by one. An overloaded server halves
it: one that answers 429 or 503, not in time, or after far longer than usual. Once the number has
fallen it takes many rounds to grow.

A Prefect server on SQLite takes one write at a time, and may freeze altogether while one waits for
another's lock: there it comes to one write in flight, seldom two. Reads have a gate of their own.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

CAUTIOUS_ROUNDS: Final = 20
"""Rounds of fast answers for one more request in flight, once the number has fallen."""

FIRST_ROUNDS: Final = 5
"""Rounds of one request before there may ever be two: what is usual is learned in them."""

FAST: Final = 1.5
"""So many times the usual time is still fast: the server bears more."""

SLOW: Final = 1.75
"""From so many times the usual time on the last request in flight won nothing.

A server that does one thing at a time takes twice as long for each of two.
"""

FAST_SECONDS: Final = 0.02
"""What takes no longer is fast, whatever is usual."""

OVERLOADED: Final = 10.0
"""From so many times the usual time on the server is overloaded."""

OVERLOADED_SECONDS: Final = 1.0
"""But nothing that took less says so."""

UNKNOWN_SECONDS: Final = 1.0
"""What is assumed to be usual before anything is known."""

FAIR_TURN: Final = 8
"""Each so-many-th place goes to the request that has waited longest, so that none starves."""


class Priority(IntEnum):
    """Who goes first when not all can."""

    VITAL = 0
    """Polls and heartbeats: few, one after the other; they wait for nobody."""
    STATE = 1
    """Claims and reports."""
    READ = 2
    """What is needed to start a run."""
    DETAIL = 3
    """What may come later: pids, labels, logs, events."""


class UsualSeconds:
    """How long requests of one kind take when no other is in flight: a moving average.

    It falls fast and rises slowly, so that one hanging request does not become the usual.
    """

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def of(self, kind: Hashable) -> float:
        """The seconds that are usual; a guess for a kind that was never measured."""
        return self._seconds.get(kind, UNKNOWN_SECONDS)

    def knows(self, kind: Hashable) -> bool:
        """Whether such a request was ever measured."""
        return kind in self._seconds

    def measured(self, kind: Hashable, seconds: float) -> None:
        """A request took so long, alone; or no longer than is usual in spite of others."""
        before = self._seconds.setdefault(kind, seconds)
        pace = 0.5 if seconds < before else 0.1
        self._seconds[kind] = before + pace * (min(seconds, 2 * before) - before)


class AdaptiveLimit:
    """The pure rule. A *ticket* is the number of a request in order of admission.

    Owns: _limit; _paces, how many times the usual time each answer of this round took.
    """

    def __init__(self, *, maximum: int, start: int | None = None) -> None:
        self.maximum = maximum
        self._limit = min(maximum, maximum if start is None else start)
        self._paces: list[float] = []
        self._fast_rounds = 0
        self._last_ticket = 0
        self._fallen_at = 0

    @property
    def value(self) -> int:
        """How many requests may be in flight now; at least 1."""
        return self._limit

    def admitted(self) -> int:
        """Count one more request as sent and return its ticket."""
        self._last_ticket += 1
        return self._last_ticket

    def is_latest(self, ticket: int) -> bool:
        """Whether nothing was admitted since."""
        return ticket == self._last_ticket

    def answered(self, ticket: int, seconds: float, *, usual: float, full: bool = True) -> None:
        """An answer came after so many seconds.

        ``usual`` are the seconds that such a request takes when no other is in flight. ``full``:
        as many were in flight as may be, so that the answer tells how the server bears that.
        """
        if seconds > max(OVERLOADED * usual, OVERLOADED_SECONDS):
            self.overloaded(ticket)
        elif full and ticket > self._fallen_at:
            self._paces.append(1.0 if seconds <= FAST_SECONDS else seconds / max(usual, 1e-9))
            if len(self._paces) >= self._limit:
                self._end_round(sum(self._paces) / len(self._paces))

    def overloaded(self, ticket: int) -> None:
        """The request with this ticket met an overloaded server: halve.

        Requests that were already under way when the number last fell say nothing new.
        """
        if ticket > self._fallen_at:
            self._fall_to(self._limit // 2)

    @property
    def _rounds_to_grow(self) -> int:
        if self._fallen_at:
            return CAUTIOUS_ROUNDS
        return FIRST_ROUNDS if self._limit == 1 else 1

    def _end_round(self, pace: float) -> None:
        self._paces.clear()
        if pace >= SLOW and self._limit > 1:
            self._fall_to(self._limit - 1)
        elif pace <= FAST:
            self._fast_rounds += 1
            if self._fast_rounds >= self._rounds_to_grow:
                self._fast_rounds = 0
                self._limit = min(self.maximum, self._limit + 1)

    def _fall_to(self, limit: int) -> None:
        self._limit = max(1, limit)
        self._fallen_at = self._last_ticket
        self._fast_rounds = 0
        self._paces.clear()


@dataclass(slots=True, kw_only=True)
class Passage:
    """One request on its way through the gate."""

    ticket: int
    was_alone: bool
    """Whether no other was in flight when it was admitted."""
    was_full: bool
    """Whether as many were in flight as the limit allows, itself included."""
    counts: bool
    """Whether it takes up one of the places that the limit allows."""


_Waiting = tuple[Priority, int, asyncio.Future[None]]


class Gate:
    """Lets requests through by priority, as many at once as the limit allows.

    One that hangs gives its place to the next (:meth:`hangs`), up to the limit's maximum in all.
    """

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.usual = UsualSeconds()
        self._counting = 0
        self._through = 0
        self._vital = 0
        self._arrivals = 0
        self._admissions = 0
        self._waiting: list[_Waiting] = []

    @property
    def in_flight(self) -> int:
        """Requests that are through and not done."""
        return self._through + self._vital

    @asynccontextmanager
    async def pass_through(self, priority: Priority) -> AsyncIterator[Passage]:
        """Wait for a place and hold it; vital requests need none."""
        vital = priority is Priority.VITAL
        if vital:
            self._vital += 1
        else:
            await self._enter(priority)
        passage = Passage(
            ticket=self.limit.admitted(),
            was_alone=self.in_flight == 1,
            was_full=not vital and self._counting >= self.limit.value,
            counts=not vital,
        )
        try:
            yield passage
        finally:
            self.hangs(passage)
            if vital:
                self._vital -= 1
            else:
                self._through -= 1
            self._admit_waiting()

    def hangs(self, passage: Passage) -> None:
        """This request waits for its answer for too long to hold up others: they may go on."""
        if passage.counts:
            passage.counts = False
            self._counting -= 1
            self._admit_waiting()

    def answered(self, passage: Passage, kind: Hashable, seconds: float) -> None:
        """Learn from an answer how many requests this server bears."""
        was_alone = passage.was_alone and self.limit.is_latest(passage.ticket)
        if was_alone or (self.usual.knows(kind) and seconds < self.usual.of(kind)):
            self.usual.measured(kind, seconds)
        self.limit.answered(
            passage.ticket,
            seconds,
            usual=self.usual.of(kind),
            full=passage.was_full and self.usual.knows(kind),
        )

    @property
    def _has_place(self) -> bool:
        return self._counting < self.limit.value and self._through < self.limit.maximum

    def _take_place(self) -> None:
        self._counting += 1
        self._through += 1

    def _give_back_place(self) -> None:
        self._counting -= 1
        self._through -= 1

    async def _enter(self, priority: Priority) -> None:
        if not self._waiting and self._has_place:
            self._take_place()
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        waiting = (priority, self._arrivals, place)
        insort(self._waiting, waiting)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back_place()  # the place was ours already: pass it on
                self._admit_waiting()
            elif waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _admit_waiting(self) -> None:
        while self._waiting and self._has_place:
            self._admissions += 1
            fair = self._admissions % FAIR_TURN == 0
            waiting = min(self._waiting, key=_arrival) if fair else self._waiting[0]
            self._waiting.remove(waiting)
            place = waiting[2]
            if not place.done():
                self._take_place()
                place.set_result(None)


def _arrival(waiting: _Waiting) -> int:
    return waiting[1]
