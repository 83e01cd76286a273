"""A tiny real HTTP server whose every answer a test scripts."""

from __future__ import annotations

import json
import queue
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CERTIFICATE = Path(__file__).with_name("data") / "localhost.pem"
"""For 127.0.0.1, signed by itself, with its key."""


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer; ``body`` as bytes goes out as it is, anything else as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"

    def __call__(self, handler: Handler) -> None:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        handler.send_response(self.status)
        if self.status not in (204, 304):
            handler.send_header("Content-Type", self.content_type)
            handler.send_header("Content-Length", str(len(body)))
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if self.status not in (204, 304):
            handler.wfile.write(body)


class Handler(BaseHTTPRequestHandler):
    """Serves one connection, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer goes out in one piece, so that no acknowledgement delays it
    server: ScriptedServer  # type: ignore[assignment]  # not a socketserver: see below

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        received = Received(self.command, self.path, self.headers, body)
        self.server.next_script(received)(self)
        self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_CONNECT = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def hang(self, sent: bytes = b"") -> None:
        """Send ``sent`` and nothing more until the client is gone."""
        self.wfile.write(sent)
        self.wfile.flush()
        self.server.hanging.put(None)
        with suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def break_off(self, sent: bytes = b"") -> None:
        """Send ``sent`` and close the connection."""
        self.wfile.write(sent)
        self.wfile.flush()
        self.close_connection = True


Script = Callable[[Handler], None]


class ScriptedServer:
    """Listens on a free loopback port; answers each request with the next scripted reply.

    Unscripted requests to ``/csrf-token`` are answered as by a server without CSRF protection,
    others with ``default``. A context manager; nothing is left of it afterwards.
    """

    def __init__(
        self, *, default: Script | None = None, csrf: bool = False, tls: bool = False
    ) -> None:
        self.received: list[Received] = []
        self.hanging: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.connections = 0
        self._default = default or Reply()
        self._csrf = csrf
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(CERTIFICATE)
        self._script: deque[Script] = deque()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/api"

    def script(self, *replies: Script) -> None:
        """What the next requests are answered, in order."""
        self._script.extend(replies)

    def next_script(self, received: Received) -> Script:
        with self._lock:
            self.received.append(received)
            if not self._csrf and "/csrf-token" in received.path:
                self.received.pop()
                return Reply(422, {"detail": "CSRF protection is disabled."})
            return self._script.popleft() if self._script else self._default

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(60)  # nothing is accepted any more
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
                self.connections += 1
            self._start(self._serve, connection, address)

    def _serve(self, connection: socket.socket, address: Any) -> None:
        stream = connection
        try:
            with suppress(OSError):
                if self._tls is not None:
                    # Of the connection itself, not in its place: __exit__ shuts that down.
                    stream = self._tls.wrap_socket(connection.dup(), server_side=True)
                Handler(stream, address, self)  # type: ignore[arg-type]  # see Handler.server
        finally:
            with self._lock:
                self._open.discard(connection)
            stream.close()
            connection.close()
