"""Moves a run's output from the pipe to bounded files. It never blocks the run.

The first quarter of the bound keeps the beginning of the output. The rest rotates and keeps its
end. What is in between is dropped, and so is what the disk refuses (full, read-only).

Segments on disk are named by their offset in the whole stream. A gap between two segments is
output that was dropped.
"""

from __future__ import annotations

import contextlib
import os
import time

from .constants import OUTPUT_PREFIX

CHUNK = 1024 * 1024
"""Bytes moved in one turn, so that one loud run does not starve the others."""

RETRY_SECONDS = 1.0
"""Pause after the disk has refused a write."""

MAX_SEGMENTS = 64
"""A disk that fills up again and again must not get thousands of small files."""

_READ = 65536
"""Bytes read at once: what a pipe holds (pipe(7))."""


class Segment:
    """A part of the stream: ``start`` is its first byte's offset, ``size`` its bytes on disk."""

    __slots__ = ("path", "size", "start")

    def __init__(self, path: str, start: int, size: int) -> None:
        self.path = path
        self.start = start
        self.size = size

    @property
    def end(self) -> int:
        """The offset just behind its last byte."""
        return self.start + self.size


def path_of(folder: str, start: int) -> str:
    """The file of the segment that begins at ``start``."""
    return os.path.join(folder, f"{OUTPUT_PREFIX}{start:015d}")


def list_segments(folder: str) -> list[Segment]:
    """The segments on disk in the stream's order."""
    segments = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            offset = entry.name[len(OUTPUT_PREFIX) :]
            if entry.name.startswith(OUTPUT_PREFIX) and offset.isdigit():
                with contextlib.suppress(OSError):
                    size = entry.stat(follow_symlinks=False).st_size
                    segments.append(Segment(entry.path, int(offset), size))
    segments.sort(key=lambda segment: segment.start)
    return segments


class Output:
    """Owns: pipe (the reading end), position, _file (descriptor of the segment being written).

    ``position`` counts every byte of the stream, kept or dropped.
    """

    def __init__(
        self,
        folder: str,
        max_bytes: int,
        pipe: int | None,
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.pipe = pipe
        self._folder = folder
        self._head = max_bytes // 4
        self._piece = (max_bytes - self._head) // 2
        self._retry_seconds = retry_seconds
        self._written = list_segments(folder)
        self.position = self._written[-1].end if self._written else 0
        self._file: int | None = None
        self._room = 0
        self._rest_until = 0.0
        self._drop_empty()

    def pump(self, budget: int = CHUNK) -> bool:
        """Moves what is there, at most ``budget`` bytes; False at the end of the stream.

        The pipe stays open, so that the caller can stop watching it first: a duplicate elsewhere
        would keep its registration alive (epoll(7), question 6).
        """
        while self.pipe is not None and budget > 0:
            target = self._segment()
            room = budget if target is None else self._room
            try:
                data = os.read(self.pipe, min(budget, room, _READ))
            except BlockingIOError:
                return True
            if not data:
                return False
            self.position += len(data)
            budget -= len(data)
            if target is not None:
                self._write(target, data)
        return self.pipe is not None

    def take_over(self, pipe: int, position: int) -> None:
        """Goes on with ``pipe``, from which a former keeper took ``position`` bytes."""
        os.set_blocking(pipe, False)
        self.pipe = pipe
        self.position = max(self.position, position)

    def close_pipe(self) -> None:
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None
        self._close_file()

    def _write(self, target: int, data: bytes) -> None:
        kept = 0
        with contextlib.suppress(OSError):
            kept = os.write(target, data)
        self._room -= kept
        self._written[-1].size += kept
        if kept < len(data):
            self._refuse()

    def _segment(self) -> int | None:
        """The file to write to, with room in it; None while output has to be dropped."""
        if self._file is not None and self._room > 0:
            return self._file
        if self._piece < 1 or time.monotonic() < self._rest_until:
            return None
        self._close_file()
        head = not self._written and self._head > 0
        try:
            if not head:
                self._rotate()
            path = path_of(self._folder, self.position)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)
        except OSError:
            self._refuse()
            return None
        self._written.append(Segment(path, self.position, 0))
        self._room = self._head if head else self._piece
        return self._file

    def _rotate(self) -> None:
        """Makes room for one more piece: the head stays, and the newest of the rest."""
        first = 1 if self._written and self._written[0].start == 0 else 0
        kept = sum(segment.size for segment in self._written[first:])
        while kept > self._piece or len(self._written) >= MAX_SEGMENTS:
            oldest = self._written.pop(first)
            kept -= oldest.size
            with contextlib.suppress(FileNotFoundError):
                os.unlink(oldest.path)

    def _refuse(self) -> None:
        self._rest_until = time.monotonic() + self._retry_seconds
        self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._drop_empty()

    def _drop_empty(self) -> None:
        """An empty segment would be in the way of the next one, which has the same name."""
        if self._written and self._written[-1].size == 0:
            empty = self._written.pop()
            with contextlib.suppress(OSError):
                os.unlink(empty.path)
