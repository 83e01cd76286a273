"""A disk that is full, on virtual time: no run is lost, doubled or called lost."""

from __future__ import annotations

import asyncio

from actors.domain.model import StateType
from tests.support.worker_world import POOL, WorkerWorld, play


def test_a_supervisor_that_fails_while_the_disk_is_full_does_not_lose_its_run() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await world.start_running(limit=1)
        world.journal.full = True  # and was so already when the record was to be written
        world.journal.records.clear()
        await world.fail(world.supervisors()[0])
        await asyncio.sleep(5.0)
        process.end(5)
        await world.until_state(run, StateType.CRASHED)
        assert len(world.keeper.spawned) == 1

    play(story)


def test_what_a_full_disk_did_not_take_is_not_called_lost_by_the_next_worker() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL, job_variables={"command": "make report"})
        await world.start()
        await world.until(lambda: bool(world.keeper.alive()))
        await asyncio.sleep(1.0)
        world.journal.full = True
        await world.until_settled()
        await world.kill()
        world.journal.full = False
        await world.start()
        await asyncio.sleep(60.0)
        assert StateType.CRASHED not in world.server.types_of(run)
        assert not world.journal.unsettled

    play(story)


def test_nothing_is_claimed_while_the_disk_is_full() -> None:
    """It could not be started: the keeper has no room for its record either."""

    async def story(world: WorkerWorld) -> None:
        world.journal.full = True
        runs = [world.server.schedule(POOL) for _ in range(3)]
        await world.start()
        await asyncio.sleep(600)
        assert {world.state(run) for run in runs} == {StateType.SCHEDULED}
        world.journal.full = False
        for run in runs:
            await world.until_state(run, StateType.COMPLETED)

    play(story)


def test_a_disk_that_fills_up_costs_no_run() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL)
        await world.start()
        await world.until_state(run, StateType.RUNNING)
        world.journal.full = True
        await world.until_state(run, StateType.COMPLETED)
        await world.until_settled()

    play(story)
