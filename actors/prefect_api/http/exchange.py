"""One HTTP exchange: the request, the response or failure, and cancelling it half-way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it is sent; every retry sends exactly this ``body`` again."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """What the server answered; header names in lower case, the body decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class NoResponse(StrEnum):
    """Why an exchange brought no response."""

    UNREACHABLE = "unreachable"
    """There was no connection: nothing was sent."""
    BROKEN = "broken"
    """The connection ended before the response was complete."""
    TIMED_OUT = "timed out"
    """The response, or the next piece of it, did not come in time."""
    UNUSABLE = "unusable"
    """A retry would fail alike: certificate, address, proxy, size or redirect of the response."""


class ExchangeFailed(Exception):
    """An exchange brought no response; the message says why, in words for a person."""

    def __init__(self, reason: NoResponse, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ExchangeCancelled(Exception):
    """The exchange was cancelled: deadline, cancelled caller, closing session."""


class CancelHandle:
    """Lets any thread cancel an exchange that another thread is blocked in.

    A server that sends one byte at a time never meets a socket's timeout, so the only sure way
    to free the thread is to shut down its socket. The lock prevents shutting down a connection
    that went back to the pool and serves another exchange by now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.cancelled = False

    def attach(self, sock: object) -> None:
        """The exchange uses this socket now. ExchangeCancelled: it is cancelled already."""
        with self._lock:
            if self.cancelled:
                raise ExchangeCancelled
            if isinstance(sock, socket.socket):
                self._socket = sock

    def detach(self) -> None:
        """The exchange is over and has no socket any more."""
        with self._lock:
            self._socket = None

    def cancel(self) -> None:
        """End the exchange now; harmless when it is over."""
        with self._lock:
            self.cancelled = True
            if self._socket is not None:
                with suppress(OSError):  # closed by now
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
