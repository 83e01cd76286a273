"""The server's event stream, over a websocket.

The library is imported, in a thread, with the first subscription: that takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from ..domain.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from ..domain.ids import FlowRunId
from ..domain.masking import Masker
from ..domain.model import Json
from ..domain.ports import Clock, Threads
from ..domain.server_events import KINDS, ServerEvent
from .http.session_options import Credentials, SessionOptions

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

SETUP_SECONDS: Final = 10.0
"""How long connection, authentication and subscription may take together."""

CLOSE_SECONDS: Final = 1.0
"""How long the server may take to say goodbye."""

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""Servers accept events of 1.5 MB."""

REMEMBERED_EVENTS: Final = 1_000

SINCE: Final = timedelta(minutes=5)
"""How far the clocks of worker and server may be apart: a filter is for a period of time."""

UNTIL: Final = timedelta(days=3650)
"""Servers end a filter's period at its beginning if it has no end."""

_RUN_PREFIX: Final = "prefect.flow-run."
_QUEUE_PREFIX: Final = "prefect.work-queue."

_ERRORS: Final = {401: Unauthorized, 403: Forbidden, 404: NotFound}
_CLOSED_BECAUSE: Final = {1002: InvalidRequest, 1008: Forbidden}


class PrefectEventStream:
    """The :class:`~actors.domain.ports.EventStream` of a Prefect server.

    It reaches the server as the session of ``options`` does: with the same address, certificates,
    headers and proxy. ``credentials`` reads the current ones for each subscription.
    """

    def __init__(
        self,
        options: SessionOptions,
        *,
        credentials: Callable[[], Awaitable[Credentials]],
        clock: Clock,
        threads: Threads,
        setup_seconds: float = SETUP_SECONDS,
    ) -> None:
        self._options = options
        self._credentials = credentials
        self._clock = clock
        self._threads = threads
        self._setup_seconds = setup_seconds
        self._seen: deque[str] = deque(maxlen=REMEMBERED_EVENTS)

    @asynccontextmanager
    async def subscribe(
        self, pool_id: str, queues: Collection[str]
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        credentials = await self._credentials()
        masker = Masker(self._options.secrets() | credentials.secrets())
        connection: ClientConnection | None = None
        try:
            try:
                async with asyncio.timeout(self._setup_seconds):
                    connection = await self._connect(credentials)
                    await self._authenticate(connection, credentials)
                    await connection.send(json.dumps(self._filter(pool_id)))
            except Exception as error:
                raise _error(error, masker) from error
            yield self._events(connection, queues, masker)
        finally:
            if connection is not None:
                await connection.close()

    async def _connect(self, credentials: Credentials) -> ClientConnection:
        url = self._options.base_url.rstrip("/") + "/events/out"
        connect = await self._threads.run(lambda: _prepare(url, self._options, credentials))
        return await connect()

    async def _authenticate(self, connection: ClientConnection, credentials: Credentials) -> None:
        token = credentials.auth_string or credentials.api_key
        await connection.send(json.dumps({"type": "auth", "token": token}))
        answer = _read(await connection.recv())
        if answer.get("type") != "auth_success":
            raise Forbidden("the server's event stream did not accept the credentials")

    def _filter(self, pool_id: str) -> Json:
        """No key ``text``: servers before 3.5 refuse it. Nothing from before the subscription."""
        now = self._clock.now()
        return {
            "type": "filter",
            "backfill": False,
            "filter": {
                "occurred": {
                    "since": (now - SINCE).isoformat(),
                    "until": (now + UNTIL).isoformat(),
                },
                "event": {"name": [*KINDS]},
                "any_resource": {"id": [f"prefect.work-pool.{pool_id}"]},
            },
        }

    async def _events(
        self, connection: ClientConnection, queues: Collection[str], masker: Masker
    ) -> AsyncIterator[ServerEvent]:
        while True:
            try:
                message = _read(await connection.recv())
            except Exception as error:
                raise _error(error, masker) from error
            event = to_server_event(message, queues)
            if event is not None and event.id not in self._seen:
                self._seen.append(event.id)
                yield event


def to_server_event(message: Mapping[str, Json], queues: Collection[str]) -> ServerEvent | None:
    """What a frame of the stream means; None: nothing to a worker that serves ``queues``."""
    event = message.get("event")
    if message.get("type") != "event" or not isinstance(event, dict):
        return None
    kind = KINDS.get(str(event.get("event")))
    if kind is None:
        return None
    resource = event.get("resource") or {}
    named = {
        each.get("prefect.resource.name")
        for each in (resource, *(event.get("related") or ()))
        if str(each.get("prefect.resource.id")).startswith(_QUEUE_PREFIX)
    }
    if queues and named and named.isdisjoint(queues):
        return None
    name = str(resource.get("prefect.resource.id"))
    return ServerEvent(id=str(event.get("id")), kind=kind, run_id=_run_id(name))


def _run_id(resource: str) -> FlowRunId | None:
    """The id of a resource that is a flow run. It becomes a part of an address: UUIDs only."""
    try:
        return FlowRunId(str(UUID(resource.partition(_RUN_PREFIX)[2])))
    except ValueError:
        return None


def _prepare(
    url: str, options: SessionOptions, credentials: Credentials
) -> Callable[[], Awaitable[ClientConnection]]:
    """What blocks: imports, certificates, and which proxy there is."""
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    from .http.transport import certificates_of, proxy_for

    class Connect(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc  # the headers, which may be secret, would go with it

    proxy = proxy_for(url)
    headers = options.headers(credentials)
    for name in ("accept", "accept-encoding"):
        headers.pop(name, None)
    context: ssl.SSLContext | None = None
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=certificates_of(options))
        if options.verify is False:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def opened() -> ClientConnection:
        return await Connect(
            "ws" + url.removeprefix("http"),
            subprotocols=[Subprotocol("prefect")],
            compression=None,
            user_agent_header=headers.pop("user-agent"),
            additional_headers=headers,
            proxy=proxy,
            ssl=context,
            open_timeout=None,
            close_timeout=CLOSE_SECONDS,
            max_size=MAX_EVENT_BYTES,
        )

    return opened


def _read(frame: str | bytes) -> Mapping[str, Json]:
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) else {}


def _error(error: Exception, masker: Masker) -> Exception:
    """The domain's error for one of the network, with secrets masked in its words."""
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

    kind: type[OrchestratorError] = Unavailable
    status: int | None = None
    words = str(error) or type(error).__name__
    match error:
        case InvalidStatus():
            status = error.response.status_code
            kind = _ERRORS.get(status, InvalidRequest if 300 <= status < 500 else Unavailable)
            words = f"the server answered {status}"
        case ConnectionClosed():
            code: Any = error.rcvd.code if error.rcvd is not None else None
            kind = _CLOSED_BECAUSE.get(code, Unavailable)
        case TimeoutError():
            words = "there was no answer in time"
        case OSError() | WebSocketException() | ImportError():  # a SOCKS proxy wants a library
            pass
        case _:
            return error
    return kind(masker.text(f"event stream: {words}"), status=status)
