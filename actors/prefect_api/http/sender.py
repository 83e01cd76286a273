"""Sends requests through a few threads, as many at once as the server bears.

The library `requests` blocks, so each exchange runs in a thread; a request waits for its turn on
the loop.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from ...domain.ports import Clock
from .concurrency import OVERLOADED, AdaptiveLimit, ConcurrencyLimiter, Permit, Priority
from .exchange import (
    CancelHandle,
    ExchangeCancelled,
    ExchangeFailed,
    HttpRequest,
    HttpResponse,
    NoResponse,
)
from .hang_detector import HangDetector, RepeatingTimer
from .session_options import SessionOptions
from .threads import ThreadPool

if TYPE_CHECKING:
    from .transport import Transport

MAX_READS: Final = 4
"""Requests that only read have a limit of their own: they need not wait for writes, which SQLite
does one at a time."""
FIRST_READS: Final = 2

MAX_VITAL: Final = 4
"""Vital requests at a time: poll, heartbeat, look for cancelled runs, CSRF token."""

HANGS_SECONDS: Final = 10.0
"""Seconds without an answer after which a request holds up no other, if others are answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How to send a request."""

    what: str
    """The request in words, for messages."""
    priority: Priority
    kind: Hashable
    """Requests of one kind usually take equally long."""
    timeout_seconds: float
    """For the whole exchange, even if the server keeps sending."""


class Sender:
    """Sends each request once, when its turn comes."""

    def __init__(self, options: SessionOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        limit = AdaptiveLimit(maximum=options.max_concurrency, start=options.start_concurrency)
        self.writes = ConcurrencyLimiter(limit)
        self._reads = ConcurrencyLimiter(AdaptiveLimit(maximum=MAX_READS, start=FIRST_READS))
        self._connections = options.max_concurrency + MAX_READS + MAX_VITAL
        self._threads = ThreadPool(self._connections, name="api")
        self._in_flight: set[CancelHandle] = set()
        self._transport: Transport | None = None
        self._transport_lock = threading.Lock()
        self._hang_detector = HangDetector(clock)
        self.has_connected = False
        self.closed = False

    async def send(self, request: HttpRequest, sending: Sending) -> HttpResponse:
        """The response, whatever its status. ExchangeFailed: there was none."""
        limiter = self._reads if request.method == "GET" else self.writes
        async with limiter.permit(sending.priority) as permit:
            sent_at = self._clock.monotonic()
            watch = self._watch(sending, limiter, permit, sent_at)
            try:
                response = await self._exchange(request, sending.timeout_seconds)
            except ExchangeFailed as failure:
                if failure.reason is NoResponse.TIMED_OUT:
                    limiter.limit.overloaded(permit.ticket)
                raise
            finally:
                watch.cancel()
            self.has_connected = True
            self._hang_detector.answered()
            if response.status in (429, 503):
                limiter.limit.overloaded(permit.ticket)
            else:
                limiter.answered(permit, sending.kind, self._clock.monotonic() - sent_at)
            return response

    async def aclose(self) -> None:
        """Cancel what is in flight, end the threads and close the connections."""
        self.closed = True
        for handle in self._in_flight:
            handle.cancel()
        await self._threads.aclose()
        if self._transport is not None:
            self._transport.close()

    def _watch(
        self, sending: Sending, limiter: ConcurrencyLimiter, permit: Permit, sent_at: float
    ) -> RepeatingTimer:
        """Check repeatedly whether the request hangs, until the timer is cancelled.

        If others are answered, it no longer holds them up. A server that answers nothing at all
        gets no more requests: it would have to answer all of them once it is back.
        """

        def check() -> None:
            limiter.limit.overloaded(permit.ticket)
            if self._hang_detector.is_silent_since(sent_at):
                self._hang_detector.report(sending.what, sent_at)
            else:
                limiter.release_early(permit)

        usual = limiter.usual.of(sending.kind)
        return RepeatingTimer(self._clock, max(HANGS_SECONDS, OVERLOADED * usual), check)

    async def _exchange(self, request: HttpRequest, timeout_seconds: float) -> HttpResponse:
        if self.closed:
            raise ExchangeFailed(NoResponse.UNUSABLE, "the client is closed")
        handle = CancelHandle()
        self._in_flight.add(handle)
        timer = self._clock.call_later(timeout_seconds, handle.cancel)
        try:
            return await self._threads.run(partial(self._blocking_exchange, request, handle))
        except ExchangeCancelled:
            why = f"no whole answer in {timeout_seconds:g} s"
            why = "the client is closed" if self.closed else why
            raise ExchangeFailed(NoResponse.TIMED_OUT, why) from None
        finally:
            timer.cancel()
            handle.cancel()
            self._in_flight.discard(handle)

    def _blocking_exchange(self, request: HttpRequest, handle: CancelHandle) -> HttpResponse:
        from .transport import Transport  # late: requests takes a while to import

        with self._transport_lock:
            if self._transport is None:
                self._transport = Transport(self._options, connections=self._connections)
        return self._transport.exchange(request, handle)
