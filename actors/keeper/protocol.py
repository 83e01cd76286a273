"""Framing: a frame is four bytes of length (big endian) and a JSON object.

A frame that carries file descriptors says how many in ``fds``; they travel with its first byte
(SCM_RIGHTS, unix(7)), so they are never later than the frame itself.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False  # importing typing costs a tenth of the keeper's memory
if TYPE_CHECKING:
    from typing import Any

    Frame = dict[str, Any]

MAX_FRAME = 16 * 1024 * 1024
"""Bytes. Above what execve(2) takes as arguments and environment, below what hurts."""
MAX_HELLO = 4096
"""Bytes of a frame from a peer that has not proved to be the worker."""

_HEADER = 4


class ProtocolError(Exception):
    """The other side does not speak the keeper's protocol."""


def encode(frame: Frame) -> bytes:
    """The bytes of ``frame``. Raises ProtocolError when it is longer than MAX_FRAME."""
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
        """Whether a part of a frame is there and the rest is not."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames completed by ``data``. Raises ProtocolError on anything else."""
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
    except (ValueError, RecursionError) as error:  # the latter: it is nested too deeply
        raise ProtocolError(f"a message is not JSON: {error}") from error
    if not isinstance(frame, dict):
        raise ProtocolError("a message is not a JSON object")
    return frame
