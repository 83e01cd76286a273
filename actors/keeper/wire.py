"""One end of the conversation: frames and descriptors over a non-blocking Unix socket."""

from __future__ import annotations

import array
import os
import socket
from collections import deque

from .protocol import MAX_FRAME, Decoder, ProtocolError, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .protocol import Frame

    Handler = Callable[[Frame, int | None], None]

_READ = 256 * 1024
_ANCILLARY = socket.CMSG_LEN(array.array("i").itemsize)
"""Room for one descriptor: the kernel closes what is sent beyond (unix(7))."""
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Wire:
    """Owns: _socket, _out (what is not sent yet), _descriptors (received, not claimed yet).

    ``max_frame``: bytes that a frame from the other side may have.
    """

    def __init__(self, connection: socket.socket, max_frame: int = MAX_FRAME) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._decoder = Decoder(max_frame)
        self._out: deque[tuple[memoryview, int | None]] = deque()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def allow(self, max_frame: int) -> None:
        """Take frames of up to ``max_frame`` bytes from now on."""
        self._decoder.max_frame = max_frame

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

    def take(self, handle: Handler) -> None:
        """Call ``handle`` with each frame that arrived, and the descriptor that came with it.

        The descriptor is closed after the call: whoever wants to keep it duplicates it. One that
        no frame announces is closed, too.

        Raises EOFError when the other side has left, ProtocolError when it talks nonsense.
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
        for frame in self._decoder.feed(data):
            self._hand(frame, handle)
        self._close_unannounced()

    def close(self) -> None:
        """Close the socket and every descriptor under way; harmless when repeated."""
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
        """Of what has not been claimed, the first may belong to a frame that is not whole yet."""
        while len(self._descriptors) > self._decoder.is_amid_frame:
            os.close(self._descriptors.pop())
