"""What an engine says on its control channel, in versions 1 and 2 of Prefect's protocol.

Engines of Prefect 3.6.27 and newer acknowledge an announced cancellation with one byte. Those of
3.8.4 and newer first say hello. If that is answered, they end with a receipt: in which state they
left the flow run.
"""

from __future__ import annotations

import json

from .protocol import Frame

ACKNOWLEDGED = b"a"
RECEIPT_TAKEN = b"\2"
HELLO_ANSWER = b"\0PF\2\1"
"""Version 2, with receipts; an engine that offers both says the same."""

_HELLO = b"\0PF"
_HELLO_SIZE = 5
_RECEIPT = b"\1"
_HEADER = 5
"""The bytes before a receipt's JSON: its kind and its length (big endian)."""
MAX_RECEIPT = 4096
DISPOSITIONS = ("STATE_REPORTED", "ORCHESTRATION_ABORTED")

Word = bytes | Frame
"""ACKNOWLEDGED, HELLO_ANSWER (a hello that gets this answer), or a receipt."""


class EngineWords:
    """Owns: _buffer (a word that is not complete), takes_receipts (since a hello was answered)."""

    def __init__(self, *, takes_receipts: bool) -> None:
        self.takes_receipts = takes_receipts
        self._buffer = b""

    def feed(self, data: bytes) -> list[Word]:
        """The words completed by ``data``. Raises ValueError for anything else."""
        self._buffer += data
        words: list[Word] = []
        while self._buffer:
            kind = self._buffer[:1]
            if kind == ACKNOWLEDGED:
                self._buffer = self._buffer[1:]
                words.append(ACKNOWLEDGED)
                continue
            size = self._size_of_hello() if kind == _HELLO[:1] else self._size_of_receipt(kind)
            if size is None or len(self._buffer) < size:
                break
            word, self._buffer = self._buffer[:size], self._buffer[size:]
            if kind == _RECEIPT:
                words.append(_receipt(word[_HEADER:]))
            elif word[3] >= 2 and word[4] & 1:
                self.takes_receipts = True
                words.append(HELLO_ANSWER)
        return words

    def _size_of_hello(self) -> int:
        if not self._buffer.startswith(_HELLO[: len(self._buffer)]):
            raise ValueError("a hello of another protocol")
        return _HELLO_SIZE

    def _size_of_receipt(self, kind: bytes) -> int | None:
        if kind != _RECEIPT or not self.takes_receipts:
            raise ValueError(f"an unexpected byte: {kind!r}")
        if len(self._buffer) < _HEADER:
            return None
        size = int.from_bytes(self._buffer[1:_HEADER], "big")
        if size > MAX_RECEIPT:
            raise ValueError(f"a receipt of {size} bytes")
        return _HEADER + size


def _receipt(body: bytes) -> Frame:
    content = json.loads(body)
    if not isinstance(content, dict) or content.get("disposition") not in DISPOSITIONS:
        raise ValueError("a receipt without a known disposition")
    name = content.get("state_name")
    if content["disposition"] == DISPOSITIONS[0] and not isinstance(name, str):
        raise ValueError("a receipt without the name of a state")
    return {"disposition": content["disposition"], "state_name": name}
