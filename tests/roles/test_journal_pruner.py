"""Records of runs that are over do not pile up, on virtual time."""

from __future__ import annotations

import asyncio
from datetime import datetime

from actors.domain.errors import StateFolderError
from actors.testing.journal import MemoryJournal
from tests.support.worker_world import POOL, WorkerWorld, play


class Journal(MemoryJournal):
    """Remembers its rounds; ``broken`` makes them fail."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[tuple[float, int]] = []
        self.broken = False

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        self.rounds.append((keep_seconds, keep_count))
        if self.broken:
            raise StateFolderError("no way")
        return await super().prune(now, keep_seconds=keep_seconds, keep_count=keep_count)


def test_a_round_at_the_start_and_then_every_ten_minutes_as_the_settings_say() -> None:
    async def story(world: WorkerWorld) -> None:
        world.journal = journal = Journal()
        await world.start(keep_runs_days=100.0 / 86_400.0, keep_runs=2)
        await asyncio.sleep(3 * 600 + 60)
        assert journal.rounds == [(100.0, 2)] * 4

    play(story)


def test_too_many_records_go_at_the_next_round() -> None:
    async def story(world: WorkerWorld) -> None:
        for _ in range(3):
            world.server.schedule(POOL)
        await world.start(keep_runs=1)
        await world.until(lambda: len(world.journal.records) == 3)
        await world.until_settled()
        await world.until(lambda: len(world.journal.records) == 1)

    play(story)


def test_a_round_that_fails_is_followed_by_others() -> None:
    async def story(world: WorkerWorld) -> None:
        world.journal = journal = Journal()
        journal.broken = True
        await world.start()
        await asyncio.sleep(2 * 600 + 60)
        assert len(journal.rounds) == 3

    play(story)
