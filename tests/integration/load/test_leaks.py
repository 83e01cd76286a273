"""One worker and one keeper, hundreds of runs: afterwards they hold what they held before.

``python -m tests.soak --only leaks`` sends thousands through.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from actors import ActorSystem
from actors.periodic_actor import StartRound
from tests.integration.keeper.kit import marked, on_loop
from tests.integration.load.crowd import Crowd, Holdings, Weight
from tests.integration.worker.kit import Workshop

pytestmark = pytest.mark.slow

RUNS: Final = int(os.environ.get("ACTOR_WORKER_TEST_RUNS", "300"))
KEPT: Final = 40
"""Records of runs that are over; fewer than there are runs."""

WORKER_MB: Final = 24.0
KEEPER_MB: Final = 4.0
"""More memory than this, however many runs there were, was not given back."""


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    shop, temp = Workshop(tmp_path), tmp_path / "temp"
    temp.mkdir()
    yield Crowd(shop, temp)
    assert marked(os.listdir(shop.state.runs)) == []


async def until_nothing_is_left_over(crowd: Crowd, system: ActorSystem, before: Holdings) -> None:
    """Polls and heartbeats come and go, so it is asked until it is quiet."""
    surplus: list[str] = []

    def none() -> bool:
        surplus[:] = before.surplus(crowd, system)
        return not surplus

    try:
        await crowd.workshop.until(none)
    except TimeoutError:
        pytest.fail(f"after {crowd.done} runs there are still:\n  " + "\n  ".join(surplus))


async def until_records_are_pruned(crowd: Crowd, system: ActorSystem) -> None:
    """The JournalPruner's next round may be far; it is asked for here."""
    system.wiring.directory.address("journal_pruner").tell(StartRound())
    runs = crowd.workshop.state.runs
    await crowd.workshop.until(lambda: len(os.listdir(runs)) == KEPT)


@on_loop
async def test_a_worker_holds_no_more_after_hundreds_of_runs(crowd: Crowd) -> None:
    # The loop's own has a few threads, of which chance decides when each is started.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(max_workers=1))
    async with crowd.workshop.worker(keep_runs=KEPT) as system:
        while crowd.done < 100:  # what is made once is made by then
            await crowd.come_and_go(system)
        await until_records_are_pruned(crowd, system)
        before = Holdings.of(crowd, system)
        early = Weight.of(crowd, before)
        while crowd.done < RUNS:
            await crowd.come_and_go(system)
        await until_records_are_pruned(crowd, system)
        await until_nothing_is_left_over(crowd, system, before)
        late = Weight.of(crowd, before)
        worker, keeper = late.worker_mb - early.worker_mb, late.keeper_mb - early.keeper_mb
        print(f"{crowd.done} runs: {worker:+.1f} MB in the worker, {keeper:+.1f} MB in the keeper")
        assert early.piled_up(late) == {}
        assert worker < WORKER_MB
        assert keeper < KEEPER_MB
