"""The HTTP client for a Prefect server: JSON in, JSON out, with retries and fresh credentials."""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog

from ...domain.errors import (
    Forbidden,
    InvalidRequest,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from ...domain.masking import Masker
from ...domain.model import Json
from ...domain.ports import Clock
from .concurrency import Priority
from .csrf import CsrfGuard
from .exchange import ExchangeFailed, HttpRequest, HttpResponse, NoResponse
from .maintenance import Maintenance
from .responses import CsrfRefused, json_of
from .retry import parse_retry_after
from .sender import Call, Sender
from .session_options import Credentials, SessionOptions

_log = structlog.get_logger(__name__)

VITAL_SECONDS: Final = 20.0
"""Timeout of a vital request, doubled with each retry."""


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
        parts = urlsplit(options.base_url)
        self._shown_url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        if options.verify is False:
            _log.warning("api.certificates_not_checked", url=self._shown_url)

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
        call = Call(
            method=method,
            address=path if not query else f"{path}?{urlencode(query)}",
            what=f"{method} {path}",
            content=None if body is None else _encode(body),
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

    async def _send_with_retries(self, call: Call) -> HttpResponse:
        """The first response that is not to be retried, or else the last one."""
        policy = self._options.retry
        deadline = self._clock.monotonic() + self._options.total_seconds
        sends = 0
        while True:
            request = await self._prepare(call)
            asked: float | None = None
            maintenance = False
            outcome: HttpResponse | ExchangeFailed
            try:
                outcome = response = await self._sender.send(
                    request, call, self._seconds(call, sends)
                )
            except ExchangeFailed as failure:
                outcome, again = failure, self._may_come_later(failure)
            else:
                again = policy.retries(response.status)
                again |= self._csrf.refused(response, request.headers)
                asked = parse_retry_after(response.headers.get("retry-after"), self._clock.now())
                maintenance = response.headers.get("prefect-maintenance", "").lower() == "true"
                if response.status < 400:
                    self._maintenance.is_over()
            sends += not maintenance
            if not again or sends > policy.max_retries:
                break
            delay = policy.delay(sends, asked, self._uniform)
            if maintenance:
                deadline += delay
                await self._maintenance.wait(delay, asked=asked)
            elif self._clock.monotonic() + delay > deadline:
                break
            else:
                await self._clock.sleep(delay)
        if isinstance(outcome, ExchangeFailed):
            unreached = outcome.reason is NoResponse.UNREACHABLE
            hint = "; is the server running, and PREFECT_API_URL right?" if unreached else ""
            raise Unavailable(f"{call.what}: no answer from {self._shown_url}: {outcome}{hint}")
        return outcome

    async def _prepare(self, call: Call) -> HttpRequest:
        headers = self._options.headers(self._credentials)
        if call.content is not None:
            headers["Content-Type"] = "application/json"
        headers |= await self._csrf.headers(call.method, self._fetch)
        url = self._options.base_url.rstrip("/") + call.address
        return HttpRequest(method=call.method, url=url, headers=headers, body=call.content)

    async def _fetch(self, address: str) -> Json:
        what = f"GET {address.partition('?')[0]}"
        call = Call(method="GET", address=address, what=what, priority=Priority.VITAL)
        return json_of(await self._send_with_retries(call), call.what)

    def _seconds(self, call: Call, sends: int) -> float:
        """How long the next exchange may take."""
        seconds = 2 * self._options.timeout_seconds
        if call.priority is Priority.VITAL:  # ask again soon, on another connection
            seconds = min(seconds, VITAL_SECONDS * 2.0 ** min(sends, 10))
        return seconds

    def _may_come_later(self, failure: ExchangeFailed) -> bool:
        # A server that was never reached may not exist: the callers have their own rhythm,
        # and a user who starts a worker should hear of a wrong address soon.
        unknown = failure.reason is NoResponse.UNREACHABLE and not self._sender.has_connected
        hopeless = failure.reason is NoResponse.UNUSABLE or unknown
        return not self._sender.closed and not hopeless


def _encode(body: Json) -> bytes:
    """``body`` as JSON in UTF-8; halves of surrogate pairs become question marks."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=_plain)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"the request cannot be written as JSON: {error}") from None
    return text.encode("utf-8", "replace")


def _plain(value: object) -> Json:
    """JSON for the other types in domain objects: read-only mappings, tuples, datetimes."""
    match value:
        case Mapping():
            return dict(value)
        case datetime():
            return value.isoformat()
        case set() | frozenset() | Sequence() if not isinstance(value, bytes):
            return list(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON")
