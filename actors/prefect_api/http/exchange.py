"""One exchange with the server: what is sent, what comes back, and calling it off half-way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as it is put on the wire; every retry sends exactly this ``body`` again."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server answered; header names in lower case, the body decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Trouble(StrEnum):
    """Why an exchange brought no answer."""

    UNREACHABLE = "unreachable"
    """No connection came about: nothing was sent."""
    BROKEN = "broken"
    """The connection ended before the answer was complete."""
    TIMED_OUT = "timed out"
    """The answer, or the next piece of it, did not come in time."""
    UNTRUSTED = "untrusted"
    """The TLS certificate was not accepted."""
    UNUSABLE = "unusable"
    """An answer came that cannot be used: too large, compressed wrongly, redirected in circles."""
    MISCONFIGURED = "misconfigured"
    """The request could not be formed: wrong address, header, proxy or certificate file."""


class ExchangeFailed(Exception):
    """An exchange brought no answer; the message says why, in words for a person."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


class CalledOff(Exception):
    """The exchange was called off (deadline, cancelled caller, closing session)."""


class Lifeline:
    """Lets any thread call off an exchange that another thread is blocked in.

    A server that drips one byte at a time never meets a socket's timeout, so the only sure way
    to get the thread back is to shut the socket down under it. The lock keeps that from hitting
    a connection which went back to the pool and serves another exchange by now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.called_off = False
        self.reused_connection = False

    def hold(self, sock: object, *, reused: bool = False) -> None:
        """Tie the exchange to its socket. CalledOff: it is too late."""
        with self._lock:
            if self.called_off:
                raise CalledOff
            if isinstance(sock, socket.socket):
                self._socket = sock
            self.reused_connection = reused

    def let_go(self) -> None:
        """The exchange is over: its socket is none of ours any more."""
        with self._lock:
            self._socket = None

    def call_off(self) -> None:
        """End the exchange now; harmless when it is over."""
        with self._lock:
            self.called_off = True
            if self._socket is not None:
                with suppress(OSError):  # closed by now
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
