"""An HTTP server that strangers may reach: few connections, one short request on each.

A full server such as uvicorn waits for the header of a request as long as the client likes, and
accepts clients until the process has no descriptors left. This one takes a bounded part of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

import h11
import structlog

from ..domain.log_once import LogOnce

log = structlog.get_logger(__name__)

CONNECTIONS: Final = 32
"""Connections at a time."""
HEADER_SECONDS: Final = 5.0
"""How long a client may take to send the header of its request, and to take the response."""
HEADER_BYTES: Final = 8192
ACCEPT_PAUSE_SECONDS: Final = 1.0
"""How long clients wait when the process has no descriptor for them."""

_READ_BYTES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for; ``path`` is without the query."""

    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the client is answered; ``body`` is JSON."""

    status: HTTPStatus
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()


Respond = Callable[[Request], Awaitable[Response]]
"""Answers a request, within bounded time."""


class SmallHttpServer:
    """Serves HTTP on ``listener``, a listening socket, which it closes when it stops.

    A client must send its whole header within ``header_seconds``. When all connections are taken
    and another client comes, the one that has waited longest without a whole header makes room, so
    that silent clients cannot keep others out. The body of a request is not read; a connection
    ends with its response. While the process has no descriptor left, clients wait for
    ``accept_pause_seconds`` at a time.

    Owns: _acceptor (the task that accepts), _clients (a task for each connection) and _silent
    (those without a whole header, the oldest first).
    """

    def __init__(
        self,
        listener: socket.socket,
        respond: Respond,
        *,
        header_seconds: float = HEADER_SECONDS,
        accept_pause_seconds: float = ACCEPT_PAUSE_SECONDS,
    ) -> None:
        self._listener = listener
        self._respond = respond
        self._header_seconds = header_seconds
        self._accept_pause_seconds = accept_pause_seconds
        self._acceptor: asyncio.Task[None] | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._silent: dict[socket.socket, asyncio.Task[None]] = {}

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    def start(self) -> None:
        """Serve from now on."""
        self._listener.setblocking(False)
        self._acceptor = asyncio.create_task(self._accept(), name="health server")

    async def stop(self) -> None:
        """Close the listener and every connection."""
        tasks = {*filter(None, [self._acceptor]), *self._clients}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        no_descriptors = LogOnce()
        while True:
            try:
                client, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            except ConnectionAbortedError:
                continue
            except OSError as error:  # EMFILE, ENFILE, ENOBUFS or ENOMEM: see accept(2)
                if no_descriptors.report(str(error)):
                    log.warning("health.accept_failed", cause=str(error))
                await asyncio.sleep(self._accept_pause_seconds)
                continue
            if no_descriptors.resolve():
                log.info("health.accepts_again")
            task = asyncio.create_task(self._serve(client), name="health client")
            self._clients.add(task)
            self._silent[client] = task
            task.add_done_callback(partial(self._served, client))
            while len(self._clients) > CONNECTIONS:
                oldest = next(iter(self._silent.values()), task)
                if oldest is not task:
                    oldest.cancel()
                await asyncio.wait(self._clients, return_when=asyncio.FIRST_COMPLETED)

    def _served(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        client.close()
        self._silent.pop(client, None)
        self._clients.discard(task)

    # -- one client ----------------------------------------------------------------------------

    async def _serve(self, client: socket.socket) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES)
        with suppress(OSError):  # the client is gone, or slow: TimeoutError is an OSError
            try:
                async with asyncio.timeout(self._header_seconds):
                    request = await _receive(client, http)
                del self._silent[client]
                response = _encode(http, await self._respond(request), request.method)
            except h11.RemoteProtocolError as error:
                refusal = Response(status=HTTPStatus(error.error_status_hint))
                response = _encode(http, refusal)
            async with asyncio.timeout(self._header_seconds):
                await asyncio.get_running_loop().sock_sendall(client, response)


async def _receive(client: socket.socket, http: h11.Connection) -> Request:
    """The request of ``client`` without its body. RemoteProtocolError: it sent something else."""
    while not isinstance(event := http.next_event(), h11.Request):
        if event is not h11.NEED_DATA:
            raise h11.RemoteProtocolError("The client has sent no request.")
        http.receive_data(await asyncio.get_running_loop().sock_recv(client, _READ_BYTES))
    path, _, _ = event.target.decode("ascii").partition("?")
    return Request(method=event.method.decode("ascii"), path=path)


def _encode(http: h11.Connection, response: Response, method: str = "") -> bytes:
    """``response`` to a request of ``method``: to HEAD it goes without its body."""
    headers = [
        *response.headers,
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(response.body))),
        ("Connection", "close"),
    ]
    status = response.status
    encoded = [
        http.send(
            h11.Response(status_code=status, reason=status.phrase.encode(), headers=headers)
        ),
        http.send(h11.Data(data=b"" if method == "HEAD" else response.body)),
        http.send(h11.EndOfMessage()),
    ]
    return b"".join(filter(None, encoded))
