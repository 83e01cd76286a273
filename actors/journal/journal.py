"""The journal on disk. It never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog

from ..domain.ids import ClaimKey
from ..domain.ports import Threads
from ..domain.record import RunRecord
from ..keeper import files
from ..keeper.output_reader import tail
from .run_folders import RunFolders, Save
from .state_folder import StateFolder

STUCK_SECONDS: Final = 10.0
"""A disk that takes longer is logged as stuck; hundreds of records take a few seconds."""

MAX_SURE: Final = 50
"""Records that are synchronized in one batch."""

CLOSING_SECONDS: Final = 5.0
"""How long aclose() waits for a stuck disk."""

T = TypeVar("T")

_Entry = tuple[Save | None, asyncio.Future[None]]
"""What to save, and the caller's future. Without a save, the caller waits for earlier ones."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class FolderJournal:
    """The Journal port over the ``runs`` folder of a state folder.

    ``writer`` runs one call at a time, ``readers`` may run several. Records that arrive while the
    writer is busy are then written together (see RunFolders.save), in their order. A read waits
    for the writes that were asked for before it. When a caller is cancelled, its record is
    written all the same.

    Owns: _waiting (saves that the writer does not have yet, in order), _writing (the task that
    passes them on) and _overdue (how many calls take too long).
    """

    def __init__(
        self,
        state: StateFolder,
        *,
        writer: Threads,
        readers: Threads,
        sync: Callable[[str], None] = files.sync,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._path = state.runs
        self._folders = RunFolders(state.runs, sync)
        self._writer = writer
        self._readers = readers
        self._stuck_seconds = stuck_seconds
        self._waiting: list[_Entry] = []
        self._writing: asyncio.Task[None] | None = None
        self._overdue = 0

    async def aclose(self) -> None:
        """Writes what is waiting, but does not wait for a stuck disk."""
        if (writing := self._writing) is not None:
            await asyncio.wait([writing], timeout=CLOSING_SECONDS)
            writing.cancel()
            for _, done in self._waiting:
                done.cancel()

    async def save(self, record: RunRecord) -> None:
        await self._enqueue(Save(record))

    async def close(self, record: RunRecord) -> None:
        await self._enqueue(Save(record, is_last=True))

    async def check(self) -> None:
        await self._written()
        await self._call(self._readers, self._folders.check)

    async def folder(self, key: ClaimKey) -> Path:
        return await self._call(self._readers, partial(self._folders.make, key))

    async def _enqueue(self, save: Save | None) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((save, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write(), name="journal")
        await done

    async def _written(self) -> None:
        """Waits until all records that are waiting now are written."""
        if self._writing is not None:
            await self._enqueue(None)

    async def _write(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            saves = [save for save, _ in batch if save is not None]
            failure: Exception | None = None
            try:
                await self._call(self._writer, partial(self._folders.save, saves))
            except Exception as error:
                failure = error
            for save, done in batch:
                problem = failure if save is None else failure or save.error
                if done.done():
                    continue  # its caller was cancelled
                if problem is None:
                    done.set_result(None)
                else:
                    done.set_exception(problem)
        self._writing = None

    def _next_batch(self) -> list[_Entry]:
        """Takes what waits, but one record per claim and at most MAX_SURE sure ones.

        So what is written at once, such as the order to end a run, waits for one batch of claims
        and not for hundreds.
        """
        batch: list[_Entry] = []
        left: list[_Entry] = []
        claims: set[ClaimKey] = set()
        sure = 0
        for entry in self._waiting:
            save, _ = entry
            if save is None:
                fits = not left
            else:
                fits = save.record.key not in claims and not (save.is_sure and sure >= MAX_SURE)
                claims.add(save.record.key)
                sure += save.is_sure
            (batch if fits else left).append(entry)
        self._waiting = left
        return batch

    async def record(self, key: ClaimKey) -> RunRecord | None:
        await self._written()
        return await self._call(self._readers, partial(self._folders.read, key))

    async def open_records(self) -> list[RunRecord]:
        """StateFolderError: a newer version wrote one of them."""
        await self._written()
        return await self._call(self._readers, self._folders.read_all)

    async def output_tail(self, key: ClaimKey, lines: int) -> tuple[str, ...]:
        """Reads at most the last 256 KiB."""
        return await self._call(self._readers, partial(tail, self._path / key, lines))

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        prune = partial(self._folders.prune, now.timestamp(), keep_seconds, keep_count)
        return await self._readers.run(prune)

    async def _call(self, threads: Threads, call: Callable[[], T]) -> T:
        """Logs once when one or more calls take too long, and once when all have returned."""
        is_overdue = False

        def ring() -> None:
            nonlocal is_overdue
            is_overdue = True
            self._overdue += 1
            if self._overdue == 1:
                _log.error(
                    "journal.stuck",
                    folder=str(self._path),
                    seconds=self._stuck_seconds,
                    hint="The disk does not answer. No run is claimed or started until it does.",
                )

        timer = asyncio.get_running_loop().call_later(self._stuck_seconds, ring)
        try:
            return await threads.run(call)
        finally:
            timer.cancel()
            self._overdue -= is_overdue
            if is_overdue and self._overdue == 0:
                _log.info("journal.answers_again", folder=str(self._path))
