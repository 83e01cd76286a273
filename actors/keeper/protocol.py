"""Frames and descriptors over a Unix socket.

A frame is four bytes of length (big endian) and a JSON object. If a file descriptor comes with it,
its ``fds`` is 1, and the descriptor travels with its first byte (SCM_RIGHTS, unix(7)), so it never
arrives later than the frame.
"""

from __future__ import annotations

import array
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable

TYPE_CHECKING = False  # importing typing costs a tenth of the keeper's memory
if TYPE_CHECKING:
    from typing import Any

Frame = dict[str, "Any"]
Handler = Callable[[Frame, int | None], None]

MAX_FRAME = 16 * 1024 * 1024
"""Bytes, more than execve(2) takes as arguments and environment."""
MAX_HELLO = 4096
"""Bytes of a frame from a peer that has not proved that it is the worker."""

_HEADER = 4
_READ = 256 * 1024
_ANCILLARY = socket.CMSG_LEN(array.array("i").itemsize)
"""Room for one descriptor: the kernel closes what is sent beyond (unix(7))."""
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_PEER_CREDENTIALS = getattr(socket, "SO_PEERCRED", None)  # Linux (unix(7))
_UCRED = struct.Struct("iII")  # pid, uid, gid


class ProtocolError(Exception):
    """The other side does not speak the keeper's protocol."""


def encode(frame: Frame) -> bytes:
    """Raises ProtocolError when ``frame`` is longer than MAX_FRAME."""
    body = json.dumps(frame, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a message of {len(body)} bytes is longer than {MAX_FRAME}")
    return len(body).to_bytes(_HEADER, "big") + body


class Decoder:
    """Owns: _buffer (bytes of a frame that is not complete yet), max_frame (bytes of the next)."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.max_frame = max_frame
        self._buffer = bytearray()

    @property
    def is_amid_frame(self) -> bool:
        """Whether the beginning of a frame is there and the rest is not."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by ``data``. Raises ProtocolError for anything else."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= _HEADER:
            length = int.from_bytes(self._buffer[:_HEADER], "big")
            if length > self.max_frame:
                raise ProtocolError(f"a message announces {length} bytes")
            if len(self._buffer) < _HEADER + length:
                break
            body = bytes(self._buffer[_HEADER : _HEADER + length])
            del self._buffer[: _HEADER + length]
            frames.append(_parse(body))
        return frames


def _parse(body: bytes) -> Frame:
    try:
        frame = json.loads(body)
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise ProtocolError(f"a message is not JSON: {error}") from error
    if not isinstance(frame, dict):
        raise ProtocolError("a message is not a JSON object")
    return frame


def is_same_user(connection: socket.socket) -> bool:
    """Whether the peer of a Unix socket is our user; True where the platform does not tell."""
    if _PEER_CREDENTIALS is None:
        return True
    found = connection.getsockopt(socket.SOL_SOCKET, _PEER_CREDENTIALS, _UCRED.size)
    return bool(_UCRED.unpack(found)[1] == os.geteuid())


class FrameSocket:
    """Owns: _socket, _out (what is not sent yet), _descriptors (received, not claimed yet).

    ``max_frame``: the most bytes that a received frame may have.
    """

    def __init__(self, connection: socket.socket, max_frame: int = MAX_FRAME) -> None:
        connection.setblocking(False)
        self._socket = connection
        self.decoder = Decoder(max_frame)
        self._out: deque[tuple[memoryview, int | None]] = deque()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._out)

    def put(self, frame: Frame, descriptor: int | None = None) -> None:
        """Queues ``frame`` with a duplicate of ``descriptor``. Raises ProtocolError, OSError."""
        if descriptor is None:
            self._out.append((memoryview(encode(frame)), None))
        else:
            data = encode({**frame, "fds": 1})
            self._out.append((memoryview(data), os.dup(descriptor)))

    def flush(self) -> None:
        """Sends what can be sent now. Raises OSError when the other side is gone."""
        while self._out:
            data, descriptor = self._out[0]
            ancillary = []
            if descriptor is not None:
                rights = array.array("i", [descriptor])
                ancillary.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, rights))
            try:
                sent = self._socket.sendmsg([data], ancillary)
            except BlockingIOError:
                return
            if descriptor is not None:
                os.close(descriptor)
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], None)

    def take(self, handle: Handler) -> None:
        """Calls ``handle`` with each frame that arrived and the descriptor that came with it.

        The descriptor is closed after the call, so ``handle`` duplicates what it needs. A
        descriptor that no frame announces is closed, too.

        Raises EOFError when the other side has left, ProtocolError for an invalid frame.
        """
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ, _ANCILLARY, _CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionError as error:
            raise EOFError from error
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(rights[: len(rights) - len(rights) % numbers.itemsize])
                self._descriptors.extend(numbers)
        if not data:
            raise EOFError
        for frame in self.decoder.feed(data):
            self._hand(frame, handle)
        self._close_unannounced()

    def close(self) -> None:
        """Closes the socket and every descriptor under way; harmless when repeated."""
        self._socket.close()
        for _, descriptor in self._out:
            if descriptor is not None:
                os.close(descriptor)
        self._out.clear()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _hand(self, frame: Frame, handle: Handler) -> None:
        if "fds" not in frame:
            handle(frame, None)
            return
        if not self._descriptors:
            raise ProtocolError("a descriptor is missing")
        descriptor = self._descriptors.popleft()
        try:
            os.set_inheritable(descriptor, False)
            handle(frame, descriptor)
        finally:
            os.close(descriptor)

    def _close_unannounced(self) -> None:
        """Keeps one if a frame is incomplete, to which it may belong."""
        while len(self._descriptors) > self.decoder.is_amid_frame:
            os.close(self._descriptors.pop())
