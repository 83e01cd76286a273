"""The keeper's log: bounded, for a keeper lives for weeks, and of no use to a full disk."""

from __future__ import annotations

import contextlib
import io
import os

from .files import open_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BYTES = 1024 * 1024
OLD = ".old"
"""A log that is full is kept under its name with this, until the next one is."""


class Log(io.RawIOBase):
    """Owns: _descriptor, _size (bytes in the file).

    What a full disk does not take is dropped: it is said in the middle of seeing to a run, which
    must go on.
    """

    def __init__(
        self, path: str, *, max_bytes: int = MAX_BYTES, onto: tuple[int, ...] = ()
    ) -> None:
        """Appends to ``path``, and redirects the descriptors ``onto`` to it. Raises OSError."""
        self._path = path
        self._max_bytes = max_bytes
        self._onto = onto
        self._descriptor = self._open()
        self._size = os.fstat(self._descriptor).st_size

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(OSError):
            if self._size + len(data) > self._max_bytes:
                self._begin_anew()
            self._size += os.write(self._descriptor, data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _open(self) -> int:
        descriptor = open_own(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for other in self._onto:
            os.dup2(descriptor, other)
        return descriptor

    def _begin_anew(self) -> None:
        os.replace(self._path, self._path + OLD)
        full, self._descriptor = self._descriptor, self._open()
        os.close(full)
        self._size = 0
