"""How many requests may be under way at once: little by little more, at once much less.

A Prefect server on SQLite answers 503 under write contention; pressing on makes it worse. So
the number of requests in flight grows by one for each full round of good answers and is halved
by a 429, a 503 or a timeout, as in the additive-increase, multiplicative-decrease rule of TCP.

Once a server was overloaded, growing takes many rounds. SQLite takes one write at a time: there
each refused request costs seconds of waiting, for a lock and before it is sent again, while a
second one in flight wins next to nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

CAUTIOUS_ROUNDS: Final = 20
"""Full rounds of good answers for one more request in flight, on a server once overloaded."""


class AdaptiveLimit:
    """The pure rule. A *ticket* is the number of a request in order of admission."""

    def __init__(self, *, maximum: int, start: int | None = None) -> None:
        self._maximum = float(maximum)
        self._limit = float(min(maximum, maximum if start is None else start))
        self._last_ticket = 0
        self._cut_at = 0

    @property
    def value(self) -> int:
        """How many requests may be in flight now; at least 1."""
        return int(self._limit)

    def admitted(self) -> int:
        """Count one more request as sent and return its ticket."""
        self._last_ticket += 1
        return self._last_ticket

    def succeeded(self) -> None:
        """An answer came: a full round of them raises the limit by one, later on many do."""
        rounds = CAUTIOUS_ROUNDS if self._cut_at else 1
        self._limit = min(self._maximum, self._limit + 1 / (rounds * self._limit))

    def overloaded(self, ticket: int) -> None:
        """The request with this ticket met an overloaded server: halve.

        Requests that were already under way at the last halving say nothing new.
        """
        if ticket > self._cut_at:
            self._limit = max(1.0, self._limit / 2)
            self._cut_at = self._last_ticket


class Gate:
    """Lets requests through in order of arrival, as many at once as the limit allows."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def in_flight(self) -> int:
        """Requests that are through and not done."""
        return self._in_flight

    @asynccontextmanager
    async def pass_through(self) -> AsyncIterator[int]:
        """Wait for a place, hold it, and give the ticket for what happens to the request."""
        await self._enter()
        try:
            yield self.limit.admitted()
        finally:
            self._in_flight -= 1
            self._admit_waiting()

    async def _enter(self) -> None:
        if not self._waiting and self._in_flight < self.limit.value:
            self._in_flight += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._in_flight -= 1  # the place was ours already: pass it on
                self._admit_waiting()
            else:
                self._waiting.remove(place)
            raise

    def _admit_waiting(self) -> None:
        while self._waiting and self._in_flight < self.limit.value:
            place = self._waiting.popleft()
            if not place.done():
                self._in_flight += 1
                place.set_result(None)
