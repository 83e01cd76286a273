"""The worker's side of the fault proxy: its listening socket, and what goes out on the wire."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, cast

from tests.support.faults import NONSENSE, PATIENCE_SECONDS, REFUSALS, Answer, Fault, Request

DRIP_PIECES: Final = 10
DRIP_PAUSE_SECONDS: Final = 0.05
"""A dripping answer comes in so many pieces with such pauses: half a second in all."""

_NOT_PASSED_ON: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "host"})
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""socket(7), SO_LINGER: close() sends a reset at once."""


class Wire(BaseHTTPRequestHandler):
    """One connection of a worker, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer goes out in one piece

    def answer(self) -> None:
        if self.headers.get("Upgrade"):
            cast("Listener", self.server).upgrade(self)
            return
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            self.path,
            {k: v for k, v in self.headers.items() if k.lower() not in _NOT_PASSED_ON},
            self.rfile.read(length),
        )
        cast("Listener", self.server).serve(self, request)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def tunnel(self, server: socket.socket) -> None:
        """Pass everything on, both ways, until one side closes."""
        lines = [self.requestline, *(f"{name}: {text}" for name, text in self.headers.items())]
        server.sendall("\r\n".join((*lines, "", "")).encode())
        back = threading.Thread(target=_pass_on, args=(server, self.connection))
        back.start()
        _pass_on(self.connection, server)
        back.join()
        self.close_connection = True

    def reset(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close_connection = True

    def refuse(self, fault: Fault) -> None:
        """Answer in the server's place."""
        status, body = REFUSALS[fault]
        headers = [("Content-Type", "application/json")]
        if fault is Fault.BUSY:
            headers.append(("Retry-After", "0.2"))
        self._send(Answer(status, headers, body))

    def deliver(self, answer: Answer, fault: Fault | None) -> None:
        """Bring the server's answer, or what the fault has made of it."""
        if fault in NONSENSE:
            kind, body = NONSENSE[fault]
            self._send(Answer(200, [("Content-Type", kind)], body))
        elif fault is Fault.LOST:
            self.reset()
        elif fault is Fault.SILENT:
            self._say_nothing()
        else:
            self._send(answer, fault)

    def _say_nothing(self) -> None:
        self.connection.settimeout(PATIENCE_SECONDS)
        self.close_connection = True
        with suppress(OSError):
            self.connection.recv(1)

    def _send(self, answer: Answer, fault: Fault | None = None) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers:
            if name.lower() not in _NOT_PASSED_ON | {"content-length"}:
                self.send_header(name, value)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        match fault:
            case Fault.HALF:
                self.wfile.write(answer.body[: len(answer.body) // 2])
                self.wfile.flush()
                self.reset()
            case Fault.DRIP:
                self._drip(answer.body)
            case _:
                self.wfile.write(answer.body)
                self.wfile.flush()

    def _drip(self, body: bytes) -> None:
        closing = cast("Listener", self.server).closing
        size = max(1, -(-len(body) // DRIP_PIECES))
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            closing.wait(DRIP_PAUSE_SECONDS)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class Listener(socketserver.ThreadingTCPServer):
    """The listening socket and the connections that it has accepted."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = False  # so that server_close() waits for them

    def __init__(
        self,
        port: int,
        serve: Callable[[Wire, Request], None],
        upgrade: Callable[[Wire], None],
    ) -> None:
        self.serve = serve
        self.upgrade = upgrade
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Wire)

    def break_connections(self) -> None:
        self.closing.set()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close it without a farewell: how it ends is the wire's decision."""
        with self._lock:
            self._open.discard(request)
        request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Workers that are killed leave connections in every state."""
