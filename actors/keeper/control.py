"""The control channel of a run's engine, which hears of its cancellation before the signal.

It is the protocol of Prefect's runner: the engine connects to a loopback port and sends a token
and a newline. It acknowledges our one byte, or sends a receipt when it is through (see
``engine_words``). The first of the two is the conclusion: it tells more than the exit code.

Every user of the machine can reach the port. So only the run's own user may connect, and when too
many connections have not sent the token, the oldest of them is closed.
"""

from __future__ import annotations

import os
import socket
import sys
from _operator import _compare_digest as compare_digest  # hmac's, without OpenSSL
from collections.abc import Callable

from . import procfs
from .engine_words import ACKNOWLEDGED, HELLO_ANSWER, MAX_RECEIPT, RECEIPT_TAKEN, EngineWords, Word
from .loop import READ, Loop, Timer
from .protocol import Frame

CANCEL = b"c"
ANSWER_SECONDS = 10.0
"""An engine answers within milliseconds, unless the machine is busy. One that gets SIGTERM before
it has read our byte reports Crashed."""
GREETING_SECONDS = 10.0
MAX_STRANGERS = 4
"""Connections that have not sent the token yet."""
BACKLOG = 64
"""Connections that the kernel keeps until they are accepted."""


class ControlChannel:
    """Owns: _listener, _strangers (no token yet, by age), _child (the engine's connection), _words
    (what it says there), _announced (whether it was told that it is cancelled).

    ``pid``: the run's own process, once it exists. Its user may differ from ours.
    """

    def __init__(self, loop: Loop, token: str, listener: socket.socket | None) -> None:
        self._loop = loop
        self.token = token
        self.pid: int | None = None
        self._listener = listener
        self._strangers: dict[int, tuple[socket.socket, bytearray, Timer]] = {}
        self._child: socket.socket | None = None
        self._answered: Callable[[], None] | None = None
        self._patience: Timer | None = None
        self.on_connected: Callable[[], None] = lambda: None
        self.on_conclusion: Callable[[Frame], None] = lambda _: None
        self._words = EngineWords(takes_receipts=listener is None)  # it may have said hello before
        self._announced = False
        if listener is not None:
            listener.setblocking(False)
            loop.watch(listener.fileno(), READ, lambda _: self._accept(listener))

    @classmethod
    def open(cls, loop: Loop) -> ControlChannel:
        """Listens on a free loopback port. Raises OSError."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        return cls(loop, os.urandom(16).hex(), listener)

    @classmethod
    def adopt(
        cls, loop: Loop, token: str, connection: socket.socket, *, listening: bool
    ) -> ControlChannel:
        """Takes over the listener of a former keeper, or the connection of its engine."""
        channel = cls(loop, token, connection if listening else None)
        if not listening:
            channel._welcome(connection)
        return channel

    @property
    def port(self) -> int:
        """The loopback port; 0 when no longer listening."""
        return 0 if self._listener is None else int(self._listener.getsockname()[1])

    @property
    def connected(self) -> bool:
        return self._child is not None

    def descriptor(self) -> tuple[str, int] | None:
        """What must outlive the keeper: ``control`` or ``listener``, and its descriptor."""
        if self._child is not None:
            return "control", self._child.fileno()
        if self._listener is not None:
            return "listener", self._listener.fileno()
        return None

    def announce_cancel(self, grace: float, then: Callable[[], None]) -> None:
        """Tells the engine that it is cancelled; calls ``then`` once it has answered.

        Waits at most ten seconds, and at most half of ``grace`` (seconds): the rest is for what
        the engine does after the signal.
        """
        self._answered = then
        try:
            if self._child is None:
                self._settle()
            else:
                self._announced = True
                self._child.send(CANCEL)
                patience = min(ANSWER_SECONDS, grace / 2)
                self._patience = self._loop.call_later(patience, self._settle)
        except OSError:
            self._leave()

    def close(self) -> None:
        """Hears the engine's last words and closes everything.

        A pending announcement counts as answered.
        """
        self._stop_listening()
        if self._child is not None:
            self._said(self._child)
        self._leave()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if not self._may_connect(connection):
            connection.close()
            return
        if len(self._strangers) >= MAX_STRANGERS:
            self._dismiss(next(iter(self._strangers)))
        connection.setblocking(False)
        number = connection.fileno()
        patience = self._loop.call_later(GREETING_SECONDS, lambda: self._dismiss(number))
        self._strangers[number] = (connection, bytearray(), patience)
        self._loop.watch(number, READ, lambda _: self._greeted(number))

    def _may_connect(self, connection: socket.socket) -> bool:
        """Whether the run's user connects, as far as the platform tells.

        The run may have become another user on its way to the engine (setpriv(1), for instance).
        """
        try:
            here, there = connection.getsockname(), connection.getpeername()
        except OSError:  # gone again
            return False
        if not procfs.knows_connections():
            return True
        user = procfs.user_of_connection(there, here)
        if user is None:
            return False
        return user == os.geteuid() or (self.pid is not None and user == procfs.user(self.pid))

    def _greeted(self, number: int) -> None:
        connection, heard, patience = self._strangers[number]
        try:
            data = connection.recv(256)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        heard += data
        line, newline, rest = bytes(heard).partition(b"\n")
        if newline and compare_digest(line.strip(), self.token.encode("ascii")):
            patience.cancel()
            del self._strangers[number]
            self._loop.unwatch(number)
            self._stop_listening()
            self._welcome(connection)
            self.on_connected()
            if rest:
                self._take_in(connection, rest)
        elif newline or not data or len(heard) > 256:
            self._dismiss(number)

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._child = connection
        self._loop.watch(connection.fileno(), READ, lambda _: self._said(connection))

    def _said(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(2 * MAX_RECEIPT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take_in(connection, data)
        else:
            self._leave()

    def _take_in(self, connection: socket.socket, data: bytes) -> None:
        try:
            for word in self._words.feed(data):
                self._hear(connection, word)
        except (OSError, ValueError, RecursionError) as error:
            print(f"an engine's control channel is closed: {error}", file=sys.stderr)
            self._leave()

    def _hear(self, connection: socket.socket, word: Word) -> None:
        if isinstance(word, dict):
            self.on_conclusion(word)
            connection.send(RECEIPT_TAKEN)
            self._settle()
        elif word == HELLO_ANSWER:
            connection.send(HELLO_ANSWER)
        elif not self._announced:
            raise ValueError("it acknowledges what it was not told")
        else:
            assert word == ACKNOWLEDGED
            self.on_conclusion({"disposition": "INTENT_ACKNOWLEDGED", "state_name": None})
            self._settle()

    def _settle(self) -> None:
        then, self._answered = self._answered, None
        if self._patience is not None:
            self._patience.cancel()
        if then is not None:
            then()

    def _leave(self) -> None:
        if self._child is not None:
            self._loop.unwatch(self._child.fileno())
            self._child.close()
            self._child = None
        self._settle()

    def _dismiss(self, number: int) -> None:
        connection, _, patience = self._strangers.pop(number)
        patience.cancel()
        self._loop.unwatch(number)
        connection.close()

    def _stop_listening(self) -> None:
        for number in list(self._strangers):
            self._dismiss(number)
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
