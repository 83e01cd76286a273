"""The HTTP client for a Prefect server: an async face on requests.

Requests block, so each exchange runs in one of a few threads; everything that waits for
anything else (a place, a back-off, a token) waits on the loop.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog

from ..domain.complaint import Complaint
from ..domain.errors import (
    Forbidden,
    InvalidRequest,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from ..domain.masking import Masker
from ..domain.model import Json
from ..domain.ports import Clock
from .answers import CsrfRefused, json_of
from .csrf import CsrfGuard
from .exchange import Answer, CalledOff, ExchangeFailed, Lifeline, Outgoing, Trouble
from .flow_control import AdaptiveLimit, Gate
from .options import Credentials, SessionOptions
from .retry import parse_retry_after
from .threads import ThreadPool

if TYPE_CHECKING:
    from .transport import Transport

Query = Mapping[str, str]

_log = structlog.get_logger(__name__)

LONG_WAIT: Final = 60.0
"""Seconds from which on a wait that the server asked for is logged."""

SHORTEST_SLEEP: Final = 2.0
"""Seconds of announced maintenance that are waited even when other requests are answered."""

_HOPELESS = frozenset({Trouble.UNTRUSTED, Trouble.UNUSABLE, Trouble.MISCONFIGURED})
"""Troubles that a second try right away would only meet again."""


class Session:
    """Sends requests to one server and gives back their JSON.

    Raises nothing but OrchestratorError kinds. ``reread`` is asked for credentials after a 401,
    or a 403 as proxies answer it: when they have changed (a key was rotated), the request is
    sent once more with them.
    ``uniform`` draws random numbers for jitter.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        clock: Clock,
        reread: Callable[[], Credentials] | None = None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._options = options
        self._clock = clock
        self._reread = reread
        self._uniform = uniform
        self._credentials = options.credentials
        self._secrets = options.secrets()
        self._csrf = CsrfGuard(enabled=options.csrf)
        limit = AdaptiveLimit(maximum=options.max_concurrency, start=options.start_concurrency)
        self._gate = Gate(limit)
        self._threads = ThreadPool(options.max_concurrency, name="api")
        self._lifelines: set[Lifeline] = set()
        self._transport: Transport | None = None
        self._transport_lock = threading.Lock()
        self._has_connected = False
        self._maintenance_until: float | None = None
        self._long_wait = Complaint()
        self._sleeps: dict[asyncio.Future[None], float] = {}
        self._closed = False
        if options.verify is False:
            _log.warning("api.certificates_not_checked", url=self.shown_url)

    @property
    def secrets(self) -> frozenset[str]:
        """What must be masked wherever it turns up: keys, authorization strings, passwords."""
        return self._secrets

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight at present."""
        return self._gate.limit.value

    @property
    def maintenance_until(self) -> float | None:
        """Until when, on the clock's monotonic time, the server has announced maintenance.

        A time in the past is when that was over; None: it has never announced any.
        """
        return self._maintenance_until

    @property
    def shown_url(self) -> str:
        """The server's address without user and password, for messages."""
        parts = urlsplit(self._options.base_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    async def request(
        self, method: str, path: str, *, query: Query | None = None, body: Json = None
    ) -> Json:
        """The JSON that the server answers, None where it answers nothing.

        ``path`` begins with a slash and is percent-encoded; ``body`` is any JSON, None: no body.
        """
        content = None if body is None else _encoded(body)
        what = f"{method} {path}"
        address = path if not query else f"{path}?{urlencode(query)}"
        used = self._credentials
        try:
            try:
                return json_of(await self._persist(method, address, content, what), what)
            except (Unauthorized, Forbidden) as error:
                if isinstance(error, CsrfRefused) or not self._has_other_credentials(used):
                    raise
            return json_of(await self._persist(method, address, content, what), what)
        except OrchestratorError as error:
            masked = Masker(self._secrets).text(str(error))
            raise type(error)(masked, status=error.status) from None

    async def aclose(self) -> None:
        """End what is under way, the threads and the connections; requests fail from now on."""
        self._closed = True
        for sleep in self._sleeps:
            sleep.cancel()
        for lifeline in self._lifelines:
            lifeline.call_off()
        await self._threads.aclose()
        if self._transport is not None:
            self._transport.close()

    def _has_other_credentials(self, used: Credentials) -> bool:
        """Whether there are others than those that were ``used`` when the server refused."""
        if self._credentials != used:  # found since, for a request that was refused before
            return True
        if self._reread is None:
            return False
        try:
            fresh = self._reread()
        except Exception as error:
            _log.warning("api.credentials_unreadable", error=str(error))
            return False
        if fresh == used:
            return False
        self._credentials = fresh
        self._secrets |= fresh.secrets()
        return True

    async def _persist(
        self, method: str, address: str, content: bytes | None, what: str
    ) -> Answer:
        """The answer after Prefect's retry ladder; of the last try when none was good."""
        policy = self._options.retry
        deadline = self._clock.monotonic() + self._options.total_seconds
        sends = 0
        while True:
            outgoing = await self._prepare(method, address, content)
            outcome = await self._send(outgoing)
            again, maintenance = self._is_worth_retrying(outcome, outgoing)
            sends += not maintenance
            if isinstance(outcome, Answer) and outcome.status < 400:
                self._maintenance_is_over()
            if not again or sends > policy.max_retries:
                break
            asked = self._retry_after(outcome)
            delay = policy.delay(sends, asked, self._uniform)
            if maintenance:
                deadline += delay
                self._maintenance_lasts(delay, asked)
                await self._sleep_until_answered(delay)
            elif self._clock.monotonic() + delay > deadline:
                break
            else:
                await self._clock.sleep(delay)
        if isinstance(outcome, ExchangeFailed):
            raise self._no_answer(what, outcome)
        return outcome

    def _maintenance_lasts(self, seconds: float, asked: float | None) -> None:
        until = self._clock.monotonic() + seconds
        self._maintenance_until = max(until, self._maintenance_until or until)
        if seconds >= LONG_WAIT and self._long_wait.raise_("maintenance"):
            _log.warning(
                "api.told_to_wait",
                asked_seconds=asked,
                granted_seconds=round(seconds, 1),
                hint="The server announced maintenance; it is asked again then.",
            )

    def _maintenance_is_over(self) -> None:
        """Whatever was announced: the server answers again, so nobody need wait any longer.

        But who has just lain down sleeps on: he may ask for what is still in maintenance.
        """
        now = self._clock.monotonic()
        self._long_wait.settle()
        if self._maintenance_until is not None:
            self._maintenance_until = min(self._maintenance_until, now)
        for sleep, since in self._sleeps.items():
            if now - since >= SHORTEST_SLEEP:
                sleep.cancel()

    async def _sleep_until_answered(self, seconds: float) -> None:
        """Wait, but no longer than until the server has answered another request."""
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        self._sleeps[sleep] = self._clock.monotonic()
        try:
            await asyncio.wait([sleep])
        finally:
            del self._sleeps[sleep]
            sleep.cancel()

    async def _prepare(self, method: str, address: str, content: bytes | None) -> Outgoing:
        headers = self._options.headers(self._credentials)
        if content is not None:
            headers["Content-Type"] = "application/json"
        headers |= await self._csrf.headers(method, self._fetch, self._clock.now())
        url = self._options.base_url.rstrip("/") + address
        return Outgoing(method=method, url=url, headers=headers, body=content)

    async def _fetch(self, address: str) -> Json:
        what = f"GET {address.partition('?')[0]}"
        return json_of(await self._persist("GET", address, None, what), what)

    async def _send(self, outgoing: Outgoing) -> Answer | ExchangeFailed:
        async with self._gate.pass_through() as ticket:
            try:
                answer = await self._exchange(outgoing)
            except ExchangeFailed as failure:
                if failure.trouble is Trouble.TIMED_OUT:
                    self._gate.limit.overloaded(ticket)
                return failure
            self._has_connected = True
            if answer.status in (429, 503):
                self._gate.limit.overloaded(ticket)
            else:
                self._gate.limit.succeeded()
            return answer

    async def _exchange(self, outgoing: Outgoing) -> Answer:
        if self._closed:
            raise ExchangeFailed(Trouble.MISCONFIGURED, "the client is closed")
        lifeline = Lifeline()
        self._lifelines.add(lifeline)
        deadline = self._options.exchange_deadline
        timer = self._clock.call_later(deadline, lifeline.call_off)
        try:
            return await self._threads.run(partial(self._blocking_exchange, outgoing, lifeline))
        except CalledOff:
            why = "the client is closed" if self._closed else f"no whole answer in {deadline:g} s"
            raise ExchangeFailed(Trouble.TIMED_OUT, why) from None
        finally:
            timer.cancel()
            lifeline.call_off()
            self._lifelines.discard(lifeline)

    def _blocking_exchange(self, outgoing: Outgoing, lifeline: Lifeline) -> Answer:
        from .transport import Transport  # late: requests takes a while to import

        with self._transport_lock:
            if self._transport is None:
                self._transport = Transport(
                    connections=self._options.max_concurrency,
                    timeout_seconds=self._options.timeout_seconds,
                    verify=self._options.verify,
                    proxies=self._options.proxies,
                    max_response_bytes=self._options.max_response_bytes,
                )
        return self._transport.exchange(outgoing, lifeline)

    def _is_worth_retrying(
        self, outcome: Answer | ExchangeFailed, outgoing: Outgoing
    ) -> tuple[bool, bool]:
        """Whether to send again, and whether the server announced maintenance."""
        if isinstance(outcome, ExchangeFailed):
            # A server that was never reached may not exist: those who call have their own
            # rhythm, and somebody who starts a worker wants to hear of a wrong address soon.
            unknown = outcome.trouble is Trouble.UNREACHABLE and not self._has_connected
            return not self._closed and outcome.trouble not in _HOPELESS and not unknown, False
        if self._csrf.refused(outcome, outgoing.headers):
            return True, False
        maintenance = outcome.headers.get("prefect-maintenance", "").lower() == "true"
        return self._options.retry.retries(outcome.status), maintenance

    def _retry_after(self, outcome: Answer | ExchangeFailed) -> float | None:
        if isinstance(outcome, ExchangeFailed):
            return None
        return parse_retry_after(outcome.headers.get("retry-after"), self._clock.now())

    def _no_answer(self, what: str, failure: ExchangeFailed) -> Unavailable:
        hint = ""
        if failure.trouble is Trouble.UNREACHABLE:
            hint = "; is the server running, and PREFECT_API_URL right?"
        return Unavailable(f"{what}: no answer from {self.shown_url}: {failure}{hint}")


def _encoded(body: Json) -> bytes:
    """``body`` as bytes of JSON; halves of surrogate pairs (undecodable output) replaced."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=_plain)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"what was to be sent is not JSON: {error}") from None
    return text.encode("utf-8", "replace")


def _plain(value: object) -> Json:
    """JSON for what our own types hold beside JSON: read-only mappings, tuples, moments."""
    match value:
        case Mapping():
            return dict(value)
        case datetime():
            return value.isoformat()
        case set() | frozenset() | Sequence() if not isinstance(value, bytes):
            return list(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON")
