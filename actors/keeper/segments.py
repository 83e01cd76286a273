"""Where a run's output lies on disk: segments, each named by its offset in the whole stream.

A gap between two segments is output that was dropped. Reader and writer need no other agreement.
"""

from __future__ import annotations

import contextlib
import os

from .constants import OUTPUT_PREFIX


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
    """The segments on disk in the stream's order; empty where there are none."""
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
