"""Sends requests through a few threads, as many at once as the server bears.

The library `requests` blocks, so each exchange runs in a thread; a request waits for its turn on
the loop.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

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
from .session_options import SessionOptions
from .threads import ThreadPool

if TYPE_CHECKING:
    from .transport import Transport

_log = structlog.get_logger(__name__)

MAX_READS: Final = 4
"""Requests that only read have a limit of their own: they need not wait for writes, which SQLite
does one at a time."""
FIRST_READS: Final = 2

MAX_VITAL: Final = 4
"""Vital requests at a time: poll, heartbeat, look for cancelled runs, CSRF token."""

HANGS_SECONDS: Final = 10.0
"""Seconds without an answer after which a request holds up no other, if others are answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request before its headers, which may differ from one retry to the next."""

    method: str
    address: str
    """Path and query."""
    what: str
    """In words, for messages."""
    content: bytes | None = None
    priority: Priority

    @property
    def kind(self) -> tuple[str, str, Priority]:
        """Requests of one kind usually take equally long."""
        collection = self.address.partition("?")[0].split("/")[1]
        return self.method, collection, self.priority


class Sender:
    """Sends each request once, when its turn comes.

    It logs once that the server hangs, which takes requests and answers none of them, and once
    that it answers again. ``_silent_since`` is when the first request without an answer was sent.
    """

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
        self._last_answer = -math.inf
        self._silent_since: float | None = None
        self.closed = False

    @property
    def has_connected(self) -> bool:
        """Whether the server has ever answered."""
        return self._last_answer > -math.inf

    async def send(self, request: HttpRequest, call: Call, seconds: float) -> HttpResponse:
        """The response, whatever its status. ExchangeFailed: there was none.

        ``seconds`` are for the whole exchange, even if the server keeps sending.
        """
        limiter = self._reads if request.method == "GET" else self.writes
        async with limiter.permit(call.priority) as permit:
            sent_at = self._clock.monotonic()
            with self._watching(call, limiter, permit, sent_at):
                try:
                    response = await self._exchange(request, seconds)
                except ExchangeFailed as failure:
                    if failure.reason is NoResponse.TIMED_OUT:
                        limiter.limit.overloaded(permit.ticket)
                    raise
            self._answered()
            if response.status in (429, 503):
                limiter.limit.overloaded(permit.ticket)
            else:
                limiter.answered(permit, call.kind, self._clock.monotonic() - sent_at)
            return response

    async def aclose(self) -> None:
        """Cancel what is in flight, end the threads and close the connections."""
        self.closed = True
        for handle in self._in_flight:
            handle.cancel()
        await self._threads.aclose()
        if self._transport is not None:
            self._transport.close()

    @contextmanager
    def _watching(
        self, call: Call, limiter: ConcurrencyLimiter, permit: Permit, sent_at: float
    ) -> Iterator[None]:
        """Check repeatedly whether the request hangs.

        If others are answered, it no longer holds them up. A server that answers nothing at all
        gets no more requests: it would have to answer all of them once it is back.
        """
        seconds = max(HANGS_SECONDS, OVERLOADED * limiter.usual.of(call.kind))
        timer = self._clock.call_later(seconds, lambda: check())

        def check() -> None:
            nonlocal timer
            timer = self._clock.call_later(seconds, check)
            limiter.limit.overloaded(permit.ticket)
            if self._last_answer >= sent_at:
                limiter.release_early(permit)
            elif self._silent_since is None:
                self._silent_since = sent_at
                _log.warning(
                    "api.server_hangs",
                    request=call.what,
                    silent_seconds=round(self._clock.monotonic() - sent_at, 1),
                    hint="It has answered nothing since; runs go on. A server on SQLite may do so"
                    " under load: see the README.",
                )

        try:
            yield
        finally:
            timer.cancel()

    def _answered(self) -> None:
        self._last_answer = self._clock.monotonic()
        if self._silent_since is not None:
            seconds = self._last_answer - self._silent_since
            _log.info("api.server_answers", silent_seconds=round(seconds, 1))
            self._silent_since = None

    async def _exchange(self, request: HttpRequest, seconds: float) -> HttpResponse:
        if self.closed:
            raise ExchangeFailed(NoResponse.UNUSABLE, "the client is closed")
        handle = CancelHandle()
        self._in_flight.add(handle)
        timer = self._clock.call_later(seconds, handle.cancel)
        try:
            return await self._threads.run(partial(self._blocking_exchange, request, handle))
        except ExchangeCancelled:
            why = "the client is closed" if self.closed else f"no whole answer in {seconds:g} s"
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
