"""Writes lines to a stream whose reader may be slow, stuck or gone, and never waits for it."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

HELD_BYTES: Final = 8 * 1024 * 1024
"""How much is held for a reader that does not read, before lines are lost."""

FLUSH_SECONDS: Final = 2.0
"""How long the end waits for a reader that does not read."""


class LineWriter:
    """Writes whole lines to a stream; a line that cannot be written is counted, never raised.

    It bypasses Python's buffers: after a broken pipe they would still hold lines, whose flush at
    the interpreter's end would change the exit code. A thread writes, because a pipe that nobody
    reads blocks its writer, and a non-blocking pipe would be non-blocking for all programs that
    share it. Streams without a descriptor are written to directly. ``on_lost`` gets the number of
    lines that were lost because too much was held, once there is room again.

    Owns: _waiting and _size (lines to be written, and their bytes), _unreported (lost lines that
    ``on_lost`` does not know of), _thread.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        held_bytes: int = HELD_BYTES,
        on_lost: Callable[[int], None] | None = None,
    ) -> None:
        self._stream = stream
        self._held_bytes = held_bytes
        self._on_lost = on_lost
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, ValueError, AttributeError):
            self._descriptor = None
        # reentrant: the garbage collector may log something in the middle of it
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._unreported = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Lines lost because the other end was gone or did not read."""

    def line(self, text: str) -> None:
        """Write ``text`` and a line break, soon."""
        if self._descriptor is None:
            self._write_directly(text)
            return
        data = (text + "\n").encode(errors="backslashreplace")
        with self._changed:
            if self._closed or self._size + len(data) > self._held_bytes:
                self.dropped += 1
                self._unreported += 1
                return
            self._waiting.append(data)
            self._size += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            self._report_lost()

    # structlog calls a method named after the level
    msg = log = debug = info = warning = warn = error = critical = fatal = exception = line

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait at most ``seconds`` until all is written or lost; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, seconds)

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Write what can be written within ``seconds``, and no more."""
        flushed = self.flush(seconds)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if flushed and self._thread is not None:
            self._thread.join()

    def _report_lost(self) -> None:
        """Once half of the room is free; earlier, it would report after every other line."""
        if self._unreported and self._on_lost is not None and self._size <= self._held_bytes / 2:
            lost, self._unreported = self._unreported, 0
            self._on_lost(lost)

    def _write_directly(self, text: str) -> None:
        try:
            self._stream.write(text + "\n")
        except (OSError, ValueError):
            self.dropped += 1

    def _write(self) -> None:
        """The thread's target. It blocks signals, which the process may hold back on purpose."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        assert self._descriptor is not None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:  # the remaining lines are given up
                    return
                data = self._waiting[0]
            written = _write_all(self._descriptor, data)
            with self._changed:
                self._waiting.popleft()
                self._size -= len(data)
                self.dropped += not written
                self._changed.notify_all()


def _write_all(descriptor: int, data: bytes) -> bool:
    """Whether all of it was written, however long that takes."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # another program that shares it has made it non-blocking
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
        except OSError:
            return False
    return True
