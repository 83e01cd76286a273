"""The HTTP client for a Prefect server: JSON in, JSON out, with retries and fresh credentials."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog

from ...domain.errors import Forbidden, OrchestratorError, Unauthorized, Unavailable
from ...domain.masking import Masker
from ...domain.model import Json
from ...domain.ports import Clock
from .concurrency import Priority
from .csrf import CsrfGuard
from .exchange import ExchangeFailed, HttpRequest, HttpResponse, NoResponse
from .json_codec import encode
from .maintenance import Maintenance
from .responses import CsrfRefused, json_of
from .retry import parse_retry_after
from .sender import Sender, Sending
from .session_options import Credentials, SessionOptions

_log = structlog.get_logger(__name__)

VITAL_SECONDS: Final = 20.0
"""Timeout of a vital request, doubled with each retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
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
        collection = self.address.partition("?")[0].split("/")[1]
        return self.method, collection, self.priority


class Session:
    """Sends requests to one server and returns the JSON of the responses.

    Raises nothing but OrchestratorError kinds. After a 401, or a 403 as proxies answer it,
    ``reread`` is asked for credentials: if they have changed (a key was rotated), the request is
    sent once more. ``uniform`` draws random numbers for jitter.
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
        self._maintenance = Maintenance(clock)
        self._sender = Sender(options, clock)
        if options.verify is False:
            _log.warning("api.certificates_not_checked", url=self.shown_url)

    @property
    def secrets(self) -> frozenset[str]:
        """What must be masked wherever it occurs: keys, authorization strings, passwords."""
        return self._secrets

    @property
    def concurrency(self) -> int:
        """How many requests that write may be in flight at present."""
        return self._sender.writes.limit.value

    @property
    def maintenance_until(self) -> float | None:
        """The end of the maintenance that the server has announced, on the monotonic clock.

        It may be in the past. None: the server has never announced any.
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
        query: Mapping[str, str] | None = None,
        body: Json = None,
        priority: Priority = Priority.READ,
    ) -> Json:
        """The JSON of the response, None if it is empty.

        ``path`` begins with a slash and is percent-encoded. ``body`` is any JSON; None: no body.
        """
        call = _Call(
            method=method,
            address=path if not query else f"{path}?{urlencode(query)}",
            what=f"{method} {path}",
            content=None if body is None else encode(body),
            priority=priority,
        )
        used = self._credentials
        try:
            try:
                return json_of(await self._send_with_retries(call), call.what)
            except (Unauthorized, Forbidden) as error:
                if isinstance(error, CsrfRefused) or not (await self._has_other_credentials(used)):
                    raise
            return json_of(await self._send_with_retries(call), call.what)
        except OrchestratorError as error:
            masked = Masker(self._secrets).text(str(error))
            raise type(error)(masked, status=error.status) from None

    async def aclose(self) -> None:
        """Cancel what is in flight, end the threads and connections; later requests fail."""
        self._maintenance.close()
        await self._sender.aclose()

    async def _has_other_credentials(self, used: Credentials) -> bool:
        """Whether there are other credentials than the ``used`` ones, which were refused."""
        if self._credentials != used:  # reread meanwhile, for another refused request
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

    async def _send_with_retries(self, call: _Call) -> HttpResponse:
        """The first response that is not to be retried, or else the last one."""
        policy = self._options.retry
        deadline = self._clock.monotonic() + self._options.total_seconds
        sends = 0
        while True:
            request = await self._prepare(call)
            try:
                outcome: HttpResponse | ExchangeFailed = await self._sender.send(
                    request, self._sending(call, sends)
                )
            except ExchangeFailed as failure:
                outcome = failure
            again, maintenance = self._is_worth_retrying(outcome, request)
            sends += not maintenance
            if isinstance(outcome, HttpResponse) and outcome.status < 400:
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
            raise self._no_answer(call.what, outcome)
        return outcome

    async def _prepare(self, call: _Call) -> HttpRequest:
        headers = self._options.headers(self._credentials)
        if call.content is not None:
            headers["Content-Type"] = "application/json"
        headers |= await self._csrf.headers(call.method, self._fetch, self._clock.now())
        url = self._options.base_url.rstrip("/") + call.address
        return HttpRequest(method=call.method, url=url, headers=headers, body=call.content)

    async def _fetch(self, address: str) -> Json:
        what = f"GET {address.partition('?')[0]}"
        call = _Call(method="GET", address=address, what=what, priority=Priority.VITAL)
        return json_of(await self._send_with_retries(call), call.what)

    def _sending(self, call: _Call, sends: int) -> Sending:
        timeout = self._options.exchange_deadline
        if call.priority is Priority.VITAL:  # ask again soon, on another connection
            timeout = min(timeout, VITAL_SECONDS * 2.0 ** min(sends, 10))
        return Sending(
            what=call.what, priority=call.priority, kind=call.kind, timeout_seconds=timeout
        )

    def _is_worth_retrying(
        self, outcome: HttpResponse | ExchangeFailed, request: HttpRequest
    ) -> tuple[bool, bool]:
        """Whether to send again, and whether the server announced maintenance."""
        if isinstance(outcome, ExchangeFailed):
            # A server that was never reached may not exist: the callers have their own rhythm,
            # and a user who starts a worker should hear of a wrong address soon.
            unknown = outcome.reason is NoResponse.UNREACHABLE and not self._sender.has_connected
            hopeless = outcome.reason is NoResponse.UNUSABLE or unknown
            return not self._sender.closed and not hopeless, False
        if self._csrf.refused(outcome, request.headers):
            return True, False
        maintenance = outcome.headers.get("prefect-maintenance", "").lower() == "true"
        return self._options.retry.retries(outcome.status), maintenance

    def _retry_after(self, outcome: HttpResponse | ExchangeFailed) -> float | None:
        if isinstance(outcome, ExchangeFailed):
            return None
        return parse_retry_after(outcome.headers.get("retry-after"), self._clock.now())

    def _no_answer(self, what: str, failure: ExchangeFailed) -> Unavailable:
        hint = ""
        if failure.reason is NoResponse.UNREACHABLE:
            hint = "; is the server running, and PREFECT_API_URL right?"
        return Unavailable(f"{what}: no answer from {self.shown_url}: {failure}{hint}")
