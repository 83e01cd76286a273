"""The keeper's socket: one worker at a time, the newest one that says hello."""

from __future__ import annotations

import contextlib
import os
import socket
import sys

from .loop import READ, WRITE
from .names import PROTOCOL, SOCKET
from .protocol import ProtocolError
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Loop
    from .protocol import Frame

    Handler = Callable[["Peer", Frame, int | None], None]


class Peer:
    """A connection. Owns: _wire."""

    def __init__(self, server: Server, wire: Wire) -> None:
        self._server = server
        self._wire: Wire | None = wire
        self.number = wire.fileno()

    def send(self, frame: Frame, descriptor: int | None = None) -> None:
        """Send ``frame``; nothing happens when the connection is gone."""
        if self._wire is None:
            return
        try:
            self._wire.put(frame, descriptor)
            self._wire.flush()
        except OSError:
            self.close()
            return
        self._server.watch(self, self._wire.pending)

    @property
    def idle(self) -> bool:
        """Whether everything said so far has left."""
        return self._wire is not None and not self._wire.pending

    def ready(self, events: int) -> None:
        """Read or write what is possible."""
        if self._wire is None:
            return
        try:
            if events & WRITE:
                self._wire.flush()
                self._server.watch(self, self._wire.pending)
            frames = self._wire.take() if events & READ else []
            for frame, descriptor in frames:
                self._server.handle(self, frame, descriptor)
        except (EOFError, ConnectionError):
            self.close()
        except (OSError, ProtocolError) as error:
            print(f"a conversation ends: {error}", file=sys.stderr)
            self.close()

    def close(self) -> None:
        """End the conversation."""
        if self._wire is not None:
            wire, self._wire = self._wire, None
            self._server.left(self)
            wire.close()


class Server:
    """Owns: _listener, worker (the peer that said hello last), _peers (all connections)."""

    def __init__(self, loop: Loop, handler: Handler, worker_left: Callable[[], None]) -> None:
        self._loop = loop
        self._handler = handler
        self._worker_left = worker_left
        self._listener: socket.socket | None = None
        self._peers: set[Peer] = set()
        self.worker: Peer | None = None

    def listen(self) -> None:
        """Listen in the current directory, whose path may be longer than sun_path (unix(7))."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(SOCKET)
        os.chmod(SOCKET, 0o600)
        self._listener.listen(8)
        self._listener.setblocking(False)
        self._loop.watch(self._listener.fileno(), READ, lambda _: self._accept())

    def stop_listening(self) -> None:
        """Take no more connections."""
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            with contextlib.suppress(FileNotFoundError):
                os.unlink(SOCKET)
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Take no more connections and end those that are there."""
        self.stop_listening()
        for peer in list(self._peers):
            peer.close()

    def tell(self, frame: Frame, descriptor: int | None = None) -> None:
        """Tell the worker, if there is one."""
        if self.worker is not None:
            self.worker.send(frame, descriptor)

    def listened_to(self) -> bool:
        """Whether the worker, if there is one, has read everything said so far."""
        return self.worker is None or self.worker.idle

    def watch(self, peer: Peer, writing: bool) -> None:
        """Be woken for what ``peer`` waits for."""
        events = READ | WRITE if writing else READ
        self._loop.watch(peer.number, events, peer.ready)

    def left(self, peer: Peer) -> None:
        """``peer`` is gone."""
        self._loop.unwatch(peer.number)
        self._peers.discard(peer)
        if peer is self.worker:
            self.worker = None
            self._worker_left()

    def handle(self, peer: Peer, frame: Frame, descriptor: int | None) -> None:
        """Answer one frame. A worker that was replaced, or never said hello, gets no answer."""
        if frame.get("op") == "hello":
            self._hello(peer, frame)
        elif peer is self.worker:
            self._handler(peer, frame, descriptor)
        else:
            raise ProtocolError("no hello")

    def _hello(self, peer: Peer, frame: Frame) -> None:
        if frame.get("protocol") != PROTOCOL:
            peer.send({"id": frame.get("id"), "error": "version", "protocol": PROTOCOL})
            peer.close()
            return
        former, self.worker = self.worker, peer
        if former is not None and former is not peer:
            former.send({"fact": "replaced"})
            former.close()
        self._handler(peer, frame, None)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        peer = Peer(self, Wire(connection))
        self._peers.add(peer)
        self.watch(peer, False)
