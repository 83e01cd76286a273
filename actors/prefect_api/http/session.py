"""The HTTP client for a Prefect server: an async face on requests.

Requests block, so each exchange runs in one of a few threads; everything that waits for
anything else (a place, a back-off, a token) waits on the loop.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog

from ...domain.errors import Forbidden, OrchestratorError, Unauthorized, Unavailable
from ...domain.masking import Masker
from ...domain.model import Json
from ...domain.ports import Clock
from ..requests import encoded
from ..responses import CsrfRefused, json_of
from .concurrency import OVERLOADED, AdaptiveLimit, Gate, Passage, Priority
from .csrf import CsrfGuard
from .exchange import Answer, CalledOff, ExchangeFailed, Lifeline, Outgoing, Trouble
from .maintenance import Maintenance
from .options import Credentials, SessionOptions
from .retry import parse_retry_after
from .silence import Alarm, Silence
from .threads import ThreadPool

if TYPE_CHECKING:
    from .transport import Transport

Query = Mapping[str, str]

_log = structlog.get_logger(__name__)

READS_AT_ONCE: Final = 4
"""Requests that only read have places of their own: SQLite has them wait for no write, and a run's
start should not, either."""
READS_AT_FIRST: Final = 2

VITAL_AT_ONCE: Final = 4
"""Vital requests that are in flight at most: poll, heartbeat, look for cancelled runs, token."""

VITAL_SECONDS: Final = 20.0
"""For how long a vital request waits for its answer, doubled with each further try."""

HANGS_SECONDS: Final = 10.0
"""Seconds without an answer after which a request holds up no other, if others are answered."""

_HOPELESS = frozenset({Trouble.UNTRUSTED, Trouble.UNUSABLE, Trouble.MISCONFIGURED})
"""Troubles that a second try right away would only meet again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is asked; each try of it sends this."""

    method: str
    address: str
    """Path and query."""
    content: bytes | None = None
    what: str
    """In words, for messages."""
    priority: Priority

    @property
    def kind(self) -> tuple[str, str, Priority]:
        """Requests of one kind take about equally long."""
        place = self.address.partition("?")[0].split("/")[1]
        return self.method, place, self.priority


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
        reread: Callable[[], Awaitable[Credentials]] | None = None,
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
        self._writes = Gate(limit)
        self._reads = Gate(AdaptiveLimit(maximum=READS_AT_ONCE, start=READS_AT_FIRST))
        self._connections = options.max_concurrency + READS_AT_ONCE + VITAL_AT_ONCE
        self._threads = ThreadPool(self._connections, name="api")
        self._lifelines: set[Lifeline] = set()
        self._transport: Transport | None = None
        self._transport_lock = threading.Lock()
        self._has_connected = False
        self._maintenance = Maintenance(clock)
        self._silence = Silence(clock)
        self._closed = False
        if options.verify is False:
            _log.warning("api.certificates_not_checked", url=self.shown_url)

    @property
    def secrets(self) -> frozenset[str]:
        """What must be masked wherever it turns up: keys, authorization strings, passwords."""
        return self._secrets

    @property
    def concurrency(self) -> int:
        """How many requests that write may be in flight at present."""
        return self._writes.limit.value

    @property
    def maintenance_until(self) -> float | None:
        """Until when, on the clock's monotonic time, the server has announced maintenance.

        A time in the past is when that was over; None: it has never announced any.
        """
        return self._maintenance.until

    @property
    def shown_url(self) -> str:
        """The server's address without user and password, for messages."""
        parts = urlsplit(self._options.base_url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json = None,
        priority: Priority = Priority.READ,
    ) -> Json:
        """The JSON that the server answers, None where it answers nothing.

        ``path`` begins with a slash and is percent-encoded; ``body`` is any JSON, None: no body.
        """
        request = _Request(
            method=method,
            address=path if not query else f"{path}?{urlencode(query)}",
            content=None if body is None else encoded(body),
            what=f"{method} {path}",
            priority=priority,
        )
        used = self._credentials
        try:
            try:
                return json_of(await self._persist(request), request.what)
            except (Unauthorized, Forbidden) as error:
                if isinstance(error, CsrfRefused) or not (await self._has_other_credentials(used)):
                    raise
            return json_of(await self._persist(request), request.what)
        except OrchestratorError as error:
            masked = Masker(self._secrets).text(str(error))
            raise type(error)(masked, status=error.status) from None

    async def aclose(self) -> None:
        """End what is under way, the threads and the connections; requests fail from now on."""
        self._closed = True
        self._maintenance.close()
        for lifeline in self._lifelines:
            lifeline.call_off()
        await self._threads.aclose()
        if self._transport is not None:
            self._transport.close()

    async def _has_other_credentials(self, used: Credentials) -> bool:
        """Whether there are others than those that were ``used`` when the server refused."""
        if self._credentials != used:  # found since, for a request that was refused before
            return True
        if self._reread is None:
            return False
        try:
            fresh = await self._reread()
        except Exception as error:
            _log.warning("api.credentials_unreadable", error=str(error))
            return False
        if fresh == used:
            return False
        self._credentials = fresh
        self._secrets |= fresh.secrets()
        return True

    async def _persist(self, request: _Request) -> Answer:
        """The answer after Prefect's retry ladder; of the last try when none was good."""
        policy = self._options.retry
        deadline = self._clock.monotonic() + self._options.total_seconds
        sends = 0
        while True:
            outgoing = await self._prepare(request)
            outcome = await self._send(outgoing, request, patience=self._patience(request, sends))
            again, maintenance = self._is_worth_retrying(outcome, outgoing)
            sends += not maintenance
            if isinstance(outcome, Answer) and outcome.status < 400:
                self._maintenance.is_over()
            if not again or sends > policy.max_retries:
                break
            asked = self._retry_after(outcome)
            delay = policy.delay(sends, asked, self._uniform)
            if maintenance:
                deadline += delay
                await self._maintenance.wait(delay, asked=asked)
            elif self._clock.monotonic() + delay > deadline:
                break
            else:
                await self._clock.sleep(delay)
        if isinstance(outcome, ExchangeFailed):
            raise self._no_answer(request.what, outcome)
        return outcome

    async def _prepare(self, request: _Request) -> Outgoing:
        headers = self._options.headers(self._credentials)
        if request.content is not None:
            headers["Content-Type"] = "application/json"
        headers |= await self._csrf.headers(request.method, self._fetch, self._clock.now())
        url = self._options.base_url.rstrip("/") + request.address
        return Outgoing(method=request.method, url=url, headers=headers, body=request.content)

    async def _fetch(self, address: str) -> Json:
        what = f"GET {address.partition('?')[0]}"
        fetching = _Request(method="GET", address=address, what=what, priority=Priority.VITAL)
        return json_of(await self._persist(fetching), what)

    def _patience(self, request: _Request, sends: int) -> float:
        """Seconds until an exchange is called off, after so many sends.

        What is vital is rather asked again soon, on another connection.
        """
        longest = self._options.exchange_deadline
        if request.priority is not Priority.VITAL:
            return longest
        return min(longest, VITAL_SECONDS * 2.0 ** min(sends, 10))

    async def _send(
        self, outgoing: Outgoing, request: _Request, *, patience: float
    ) -> Answer | ExchangeFailed:
        gate = self._reads if request.method == "GET" else self._writes
        async with gate.pass_through(request.priority) as passage:
            sent_at = self._clock.monotonic()
            watch = self._watch(request, gate, passage, sent_at)
            try:
                answer = await self._exchange(outgoing, patience)
            except ExchangeFailed as failure:
                if failure.trouble is Trouble.TIMED_OUT:
                    gate.limit.overloaded(passage.ticket)
                return failure
            finally:
                watch.cancel()
            self._has_connected = True
            self._silence.answered()
            if answer.status in (429, 503):
                gate.limit.overloaded(passage.ticket)
            else:
                seconds = self._clock.monotonic() - sent_at
                gate.answered(passage, request.kind, seconds)
            return answer

    def _watch(self, request: _Request, gate: Gate, passage: Passage, sent_at: float) -> Alarm:
        """Look again and again whether a request hangs, until the alarm is cancelled.

        If others are answered it holds them up no longer. But a server that answers none is sent
        no more: all of that would come over it at once.
        """

        def look() -> None:
            gate.limit.overloaded(passage.ticket)
            if self._silence.lasts_since(sent_at):
                self._silence.report(request.what, sent_at)
            else:
                gate.hangs(passage)

        usual = gate.usual.of(request.kind)
        return Alarm(self._clock, max(HANGS_SECONDS, OVERLOADED * usual), look)

    async def _exchange(self, outgoing: Outgoing, patience: float) -> Answer:
        if self._closed:
            raise ExchangeFailed(Trouble.MISCONFIGURED, "the client is closed")
        lifeline = Lifeline()
        self._lifelines.add(lifeline)
        timer = self._clock.call_later(patience, lifeline.call_off)
        try:
            return await self._threads.run(partial(self._blocking_exchange, outgoing, lifeline))
        except CalledOff:
            why = "the client is closed" if self._closed else f"no whole answer in {patience:g} s"
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
                    connections=self._connections,
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
