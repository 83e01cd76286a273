"""One end of the conversation: frames and descriptors over a non-blocking Unix socket."""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections import deque

from .protocol import Decoder, ProtocolError, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol import Frame

_READ = 256 * 1024
_MAX_DESCRIPTORS = 32
_ANCILLARY = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Wire:
    """Owns: _socket, _out (what is not sent yet), _descriptors (received, not claimed yet)."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._decoder = Decoder()
        self._out: deque[tuple[memoryview, int | None]] = deque()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    @property
    def pending(self) -> bool:
        """Whether something is still to be sent."""
        return bool(self._out)

    def put(self, frame: Frame, descriptor: int | None = None) -> None:
        """Queue ``frame``, with a duplicate of ``descriptor``. Raises ProtocolError, OSError."""
        if descriptor is None:
            self._out.append((memoryview(encode(frame)), None))
        else:
            data = encode({**frame, "fds": 1})
            self._out.append((memoryview(data), os.dup(descriptor)))

    def flush(self) -> None:
        """Send what can be sent now. Raises OSError when nobody is there any more."""
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

    def take(self) -> list[tuple[Frame, int | None]]:
        """The frames that arrived, with the descriptor of those that carry one.

        Raises EOFError when the other side has left, ProtocolError when it talks nonsense.
        """
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_READ, _ANCILLARY, _CLOEXEC)
        except BlockingIOError:
            return []
        except ConnectionError as error:
            raise EOFError from error
        for level, kind, rights in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(rights[: len(rights) - len(rights) % numbers.itemsize])
                self._descriptors.extend(numbers)
        if not data:
            raise EOFError
        return [(frame, self._claim(frame)) for frame in self._decoder.feed(data)]

    def close(self) -> None:
        """Close the socket and every descriptor under way."""
        self._socket.close()
        for _, descriptor in self._out:
            if descriptor is not None:
                os.close(descriptor)
        self._out.clear()
        while self._descriptors:
            with contextlib.suppress(OSError):
                os.close(self._descriptors.popleft())

    def _claim(self, frame: Frame) -> int | None:
        if "fds" not in frame:
            return None
        if not self._descriptors:
            raise ProtocolError("a descriptor is missing")
        descriptor = self._descriptors.popleft()
        os.set_inheritable(descriptor, False)
        return descriptor
