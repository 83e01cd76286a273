"""The keeper's socket. It serves one worker at a time, which has to prove that it is the worker.

The worker holds the lock of the state folder. As proof it sends the descriptor of the locked file
when it is asked to. It does not send it unasked, since the descriptor holds the lock: it could lie
unread in the socket of a keeper that hangs, while another worker wants the folder.

A peer without proof is a stranger: it may only send a short hello, within some seconds.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable

from .constants import PROTOCOL, PROVE, SOCKET, UNPROVED, WORKER_LOCK
from .files import holds_lock
from .loop import READ, WRITE, Loop, Timer
from .protocol import MAX_FRAME, MAX_HELLO, Frame, FrameSocket, ProtocolError, is_same_user

Handler = Callable[["Peer", Frame, int | None], None]

MAX_STRANGERS = 8
"""When there are more, the oldest is disconnected."""
STRANGER_SECONDS = 10.0
"""Time for the proof; a worker needs milliseconds."""


class Peer:
    """A connection. Owns: frames, was_asked (for the proof)."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self._server = server
        self._is_open = True
        self.frames = FrameSocket(connection, MAX_HELLO)
        self.was_asked = False

    def send(self, frame: Frame, descriptor: int | None = None) -> None:
        """Does nothing when the connection is gone."""
        if not self._is_open:
            return
        try:
            self.frames.put(frame, descriptor)
            self.frames.flush()
        except OSError:
            self.close()
        else:
            self._server.watch(self)

    def ready(self, events: int) -> None:
        try:
            if events & WRITE:
                self.frames.flush()
                self._server.watch(self)
            if events & READ:
                self.frames.take(self._heard)
        except (EOFError, ConnectionError):
            self.close()
        except (OSError, ProtocolError, LookupError, TypeError, ValueError) as error:
            print(f"a conversation ends: {error!r}", file=sys.stderr)
            self.close()

    def _heard(self, frame: Frame, descriptor: int | None) -> None:
        if self._is_open:  # a former frame may have closed it
            self._server.handle(self, frame, descriptor)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._server.left(self)
            self.frames.close()


class Server:
    """Owns: _listener, worker (the peer that has the lock), _strangers (all others, by age)."""

    def __init__(self, loop: Loop, handler: Handler, worker_left: Callable[[], None]) -> None:
        self._loop = loop
        self._handler = handler
        self._worker_left = worker_left
        self._listener: socket.socket | None = None
        self._strangers: dict[Peer, Timer] = {}
        self.worker: Peer | None = None

    def listen(self) -> None:
        """Listens in the current directory: its path may be too long for sun_path (unix(7))."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET)
        listener = self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
        listener.listen(64)
        listener.setblocking(False)
        self._loop.watch(listener.fileno(), READ, lambda _: self._accept(listener))

    def stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            with contextlib.suppress(FileNotFoundError):
                os.unlink(SOCKET)
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Closes the listener and all connections."""
        self.stop_listening()
        for peer in (*self._strangers, self.worker):
            if peer is not None:
                peer.close()

    def tell(self, frame: Frame, descriptor: int | None = None) -> None:
        """Sends ``frame`` to the worker, if there is one."""
        if self.worker is not None:
            self.worker.send(frame, descriptor)

    def listened_to(self) -> bool:
        """Whether the worker, if there is one, has received everything."""
        return self.worker is None or not self.worker.frames.pending

    def watch(self, peer: Peer) -> None:
        events = READ | WRITE if peer.frames.pending else READ
        self._loop.watch(peer.frames.fileno(), events, peer.ready)

    def left(self, peer: Peer) -> None:
        """Forgets ``peer``, whose connection is closed."""
        self._loop.unwatch(peer.frames.fileno())
        self._forget_stranger(peer)
        if peer is self.worker:
            self.worker = None
            self._worker_left()

    def handle(self, peer: Peer, frame: Frame, descriptor: int | None) -> None:
        """Answers one frame. A worker that was replaced, or did not say hello, gets no answer."""
        if frame.get("op") == "hello":
            self._hello(peer, frame, descriptor)
        elif peer is self.worker:
            self._handler(peer, frame, descriptor)
        else:
            raise ProtocolError("no hello")

    def _hello(self, peer: Peer, frame: Frame, proof: int | None) -> None:
        answer: Frame = {"id": frame.get("id")}
        if frame.get("protocol") != PROTOCOL:
            peer.send({**answer, "error": "version", "protocol": PROTOCOL})
            peer.close()
        elif proof is None and not peer.was_asked:
            peer.was_asked = True
            peer.send({**answer, "error": PROVE})
        elif proof is None or not holds_lock(proof, WORKER_LOCK):
            print("somebody who does not hold the worker's lock said hello", file=sys.stderr)
            peer.send({**answer, "error": UNPROVED})
            peer.close()
        else:
            self._welcome(peer)
            self._handler(peer, frame, None)

    def _welcome(self, peer: Peer) -> None:
        self._forget_stranger(peer)
        peer.frames.decoder.max_frame = MAX_FRAME
        former, self.worker = self.worker, peer
        if former is not None and former is not peer:
            former.send({"fact": "replaced"})
            former.close()

    def _forget_stranger(self, peer: Peer) -> None:
        patience = self._strangers.pop(peer, None)
        if patience is not None:
            patience.cancel()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if not is_same_user(connection):
            connection.close()
            return
        if len(self._strangers) >= MAX_STRANGERS:
            next(iter(self._strangers)).close()
        peer = Peer(self, connection)
        self._strangers[peer] = self._loop.call_later(STRANGER_SECONDS, peer.close)
        self.watch(peer)
