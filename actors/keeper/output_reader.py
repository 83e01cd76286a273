"""Reads a run's output for the worker: from segments on disk to decoded lines."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from pathlib import Path

from .files import open_own
from .output import Segment, list_segments

MAX_LINE = 16 * 1024
"""Characters. Longer lines are cut, such as those of a progress bar, which never end."""

CHUNK = 64 * 1024
"""Bytes read in one turn."""


class LineSplitter:
    """Splits chunks of bytes, cut anywhere, into lines. Owns: _decoder, _partial."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""

    def feed(self, data: bytes, *, final: bool = False) -> list[str]:
        """The lines completed by ``data``, without their ends."""
        text = self._partial + self._decoder.decode(data, final)
        *complete, self._partial = text.split("\n")
        lines = []
        for line in complete:
            lines += _cut(line.removesuffix("\r")) or [""]
        if len(self._partial) > MAX_LINE:
            *full, self._partial = _cut(self._partial)
            lines += full
        return lines

    def flush(self) -> list[str]:
        """Returns an incomplete line as the last one."""
        lines = self.feed(b"", final=True)
        if self._partial:
            lines.append(self._partial.removesuffix("\r"))
            self._partial = ""
        return lines


def _cut(line: str) -> list[str]:
    return [line[at : at + MAX_LINE] for at in range(0, len(line), MAX_LINE)]


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines read in one turn; ``dropped`` bytes were lost before them."""

    lines: tuple[str, ...]
    dropped: int = 0


class OutputReader:
    """Reads one run's output in order. Owns: position (in the stream), _splitter, _dropped."""

    def __init__(self, folder: Path, position: int = 0) -> None:
        self.position = position
        self._folder = folder
        self._splitter = LineSplitter()
        self._dropped = 0

    def read(self, until: int) -> Piece:
        """Reads at most CHUNK bytes before offset ``until``, and advances ``position``."""
        if self.position >= until:
            return Piece(())
        here = self._segment_at(self.position)
        if here is None or here.start > self.position:
            return self._skip(until if here is None else min(here.start, until))
        try:
            with open(open_own(here.path, os.O_RDONLY), "rb") as file:
                file.seek(self.position - here.start)
                data = file.read(min(CHUNK, until - self.position))
        except OSError:  # rotated away just now, or not readable
            data = b""
        if not data:
            return self._skip(min(here.end, until))
        self.position += len(data)
        return self._piece(self._splitter.feed(data))

    def finish(self) -> Piece:
        """The last line, where its end never came."""
        return self._piece(self._splitter.flush())

    def _skip(self, to: int) -> Piece:
        """Goes on behind a gap. The line begun before it is complete then."""
        piece = self._piece(self._splitter.flush())
        self._dropped += to - self.position
        self.position = to
        return piece

    def _piece(self, lines: list[str]) -> Piece:
        dropped, self._dropped = self._dropped, 0
        return Piece(tuple(lines), dropped)

    def _segment_at(self, offset: int) -> Segment | None:
        """The segment that holds ``offset``, else the next one after it."""
        for segment in list_segments(str(self._folder)):
            if segment.end > offset:
                return segment
        return None


def tail(folder: Path, lines: int, max_bytes: int = 4 * CHUNK) -> tuple[str, ...]:
    """The last ``lines`` lines on disk, within the last ``max_bytes`` bytes."""
    if lines < 1:
        return ()
    pieces: list[bytes] = []
    wanted = max_bytes
    for segment in reversed(list_segments(str(folder))):
        if wanted <= 0:
            break
        try:
            with open(open_own(segment.path, os.O_RDONLY), "rb") as file:
                file.seek(max(0, segment.size - wanted))
                pieces.append(file.read(wanted))
        except OSError:
            continue
        wanted -= len(pieces[-1])
    splitter = LineSplitter()
    found = splitter.feed(b"".join(reversed(pieces)))
    return tuple((found + splitter.flush())[-lines:])
