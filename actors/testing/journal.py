"""A journal in memory: it survives the worker of a test, not the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from ..domain.errors import StateFolderError
from ..domain.ids import ClaimKey
from ..domain.record import Phase, RunRecord


class MemoryJournal:
    """The Journal port over a dictionary. ``full`` makes every write fail.

    ``delay`` is awaited before each write; one that never returns is a stuck disk.
    """

    def __init__(self) -> None:
        self.records: dict[ClaimKey, RunRecord] = {}
        self.output: dict[ClaimKey, tuple[str, ...]] = {}
        self.full = False
        self.delay: Callable[[], Awaitable[None]] | None = None
        self._disk = asyncio.Lock()

    @property
    def unsettled(self) -> list[RunRecord]:
        """The records of claims that are not settled, as they are now."""
        return [r for r in self.records.values() if r.phase is not Phase.OVER]

    def write(self, record: RunRecord) -> None:
        """Save a record now. StateFolderError: the disk is full."""
        self.make_room()
        self.records[record.key] = record

    def make_room(self) -> None:
        """StateFolderError: there is none, the disk is full."""
        if self.full:
            raise StateFolderError("No space left on device.")

    async def check(self) -> None:
        await self._in_order(self.make_room)

    async def folder(self, key: ClaimKey) -> Path:
        """A name only; nothing is created."""
        return Path("/nonexistent") / key

    async def save(self, record: RunRecord) -> None:
        await self._in_order(lambda: self.write(record))

    async def close(self, record: RunRecord) -> None:
        await self.save(record)

    async def record(self, key: ClaimKey) -> RunRecord | None:
        await self.open_records()
        record = self.records.get(key)
        is_gone = record is None or (record.phase is Phase.OVER and record.reason is None)
        return None if is_gone else record

    async def open_records(self) -> list[RunRecord]:
        async with self._disk:
            return self.unsettled

    async def output_tail(self, key: ClaimKey, lines: int) -> tuple[str, ...]:
        return self.output.get(key, ())[-lines:]

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        """Claims have no age here: the newest ``keep_count`` are kept."""
        settled = [key for key, record in self.records.items() if record.phase is Phase.OVER]
        gone = settled[: max(0, len(settled) - keep_count)]
        for key in gone:
            del self.records[key]
        return len(gone)

    async def _in_order(self, write: Callable[[], None]) -> None:
        """Write when the writes before are done, whether the caller waits for it or not."""

        async def at_last() -> None:
            async with self._disk:
                if self.delay is not None:
                    await self.delay()
                write()

        await asyncio.shield(asyncio.create_task(at_last()))
