"""A journal in memory: it survives the worker of a test, not the test."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ..domain.errors import StateFolderError
from ..domain.ids import ClaimKey
from ..domain.record import Phase, RunRecord


class MemoryJournal:
    """The Journal port over a dictionary. ``full`` makes every write fail."""

    def __init__(self) -> None:
        self.records: dict[ClaimKey, RunRecord] = {}
        self.output: dict[ClaimKey, tuple[str, ...]] = {}
        self.full = False

    def check(self) -> None:
        """See the port."""
        if self.full:
            raise StateFolderError("No space left on device.")

    def folder(self, key: ClaimKey) -> Path:
        """A name only; nothing is created."""
        return Path("/nonexistent") / key

    def save(self, record: RunRecord) -> None:
        """See the port."""
        if self.full:
            raise StateFolderError("No space left on device.")
        self.records[record.key] = record

    def close(self, record: RunRecord) -> None:
        """See the port."""
        self.save(record)

    def open_records(self) -> list[RunRecord]:
        """See the port."""
        return [r for r in self.records.values() if r.phase is not Phase.OVER]

    def output_tail(self, key: ClaimKey, lines: int) -> tuple[str, ...]:
        """See the port."""
        return self.output.get(key, ())[-lines:]

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        """See the port. Claims have no age here: the newest ``keep_count`` are kept."""
        settled = [key for key, record in self.records.items() if record.phase is Phase.OVER]
        gone = settled[: max(0, len(settled) - keep_count)]
        for key in gone:
            del self.records[key]
        return len(gone)
