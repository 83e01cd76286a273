"""A worker that does everything once and ends, on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from actors.domain.errors import Unavailable
from actors.domain.model import StateType
from tests.support.worker_world import POOL, WorkerWorld, play


def test_run_once_takes_one_poll_and_ends_after_its_runs() -> None:
    async def story(world: WorkerWorld) -> None:
        runs = [world.server.schedule(POOL) for _ in range(2)]
        wiring = await world.start(run_once=True)
        await wiring.guardian.joined()
        assert wiring.guardian.failure is None
        assert all(world.state(run) is StateType.COMPLETED for run in runs)

    play(story)


def test_run_once_against_a_dead_server_says_so() -> None:
    async def story(world: WorkerWorld) -> None:
        async def faults(operation: str, phase: str) -> None:
            raise Unavailable("no server there")

        world.orchestrator.faults = faults
        wiring = await world.start(run_once=True)
        await wiring.guardian.joined()
        assert isinstance(wiring.guardian.failure, Unavailable)

    play(story)


def test_a_missing_pool_that_may_not_be_created_is_no_way_to_run_once() -> None:
    async def story(world: WorkerWorld) -> None:
        wiring = await world.start(pool="new", create_pool_if_not_found=False, run_once=True)
        await wiring.guardian.joined()
        assert "prefect work-pool create" in str(wiring.guardian.failure)

    play(story)


def test_its_one_look_for_cancelled_runs_is_dealt_with_before_it_ends() -> None:
    async def story(world: WorkerWorld) -> None:
        async def slow(operation: str, phase: str) -> None:
            if phase == "before":
                await asyncio.sleep(0.2)

        run = world.server.schedule(POOL)
        world.server.set_state(run, StateType.PENDING)
        world.server.set_state(run, StateType.RUNNING)
        world.server.cancel(run)
        world.orchestrator.faults = slow
        wiring = await world.start(run_once=True)
        await wiring.guardian.joined()
        assert wiring.guardian.failure is None
        assert world.state(run) is StateType.CANCELLED

    play(story)


def test_a_look_for_cancelled_runs_that_fails_is_said() -> None:
    async def story(world: WorkerWorld) -> None:
        async def faults(operation: str, phase: str) -> None:
            if operation == "read_cancelling_runs":
                raise Unavailable("not now")

        world.orchestrator.faults = faults
        wiring = await world.start(run_once=True)
        await wiring.guardian.joined()
        assert isinstance(wiring.guardian.failure, Unavailable)

    play(story)


def test_its_runs_can_be_cancelled_while_it_waits_for_them() -> None:
    async def story(world: WorkerWorld) -> None:
        run, _ = await world.start_running(run_once=True)
        await asyncio.sleep(600)
        world.server.cancel(run)
        await world.guardian.joined()
        assert world.state(run) is StateType.CANCELLED

    play(story)


@pytest.mark.parametrize("name", ["poller", "dispatcher", "cancellation_watcher"])
def test_a_service_that_fails_meanwhile_does_not_keep_it_for_ever(name: str) -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL)
        wiring = await world.start(run_once=True)
        await world.until_state(run, StateType.RUNNING)
        world.actor(name).kill()
        await wiring.guardian.joined()
        assert world.state(run) is StateType.COMPLETED

    play(story)
