"""Runs that are held back keep no other run waiting, however many they are, virtually."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import pytest

from actors.domain.errors import InvalidRequest
from actors.domain.ids import DeploymentId, FlowRunId
from actors.domain.model import StateType
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import POOL, WorkerWorld, play

HELD_BACK = pytest.mark.parametrize("number", [3, 250, pytest.param(1000, marks=pytest.mark.slow)])
LIMIT = pytest.mark.parametrize("limit", [1, 2, None])

QUERY_SECONDS = 10.0


def a_full_deployment(world: WorkerWorld) -> DeploymentId:
    """Its only slot is taken by a run that no worker of this pool has."""
    full = world.server.add_deployment(concurrency_limit=1)
    holder = world.server.schedule("elsewhere", deployment_id=full)
    world.server.set_state(holder, StateType.PENDING)
    return full


def an_off_deployment(world: WorkerWorld) -> DeploymentId:
    """Claims of its runs are aborted, and leave them as they are."""
    return world.server.add_deployment(concurrency_limit=0)


DEPLOYMENTS = pytest.mark.parametrize("deployment", [a_full_deployment, an_off_deployment])

AddDeployment = Callable[[WorkerWorld], DeploymentId]


def hold_back(
    world: WorkerWorld, deployment: DeploymentId, number: int, *, queue: str = "default"
) -> list[FlowRunId]:
    """Runs of the deployment, due a second apart, the last one now."""
    now = world.clock.now()
    return [
        world.server.schedule(
            POOL, deployment_id=deployment, due=now - timedelta(seconds=age), queue=queue
        )
        for age in reversed(range(number))
    ]


def requests_of(world: WorkerWorld) -> Counter[str]:
    """Counts requests from now on."""
    counted: Counter[str] = Counter()

    async def count(operation: str, phase: Literal["before", "after"]) -> None:
        if phase == "before":
            counted[operation] += 1

    world.orchestrator.faults = count
    return counted


@HELD_BACK
@LIMIT
@DEPLOYMENTS
def test_a_run_behind_any_number_of_runs_of_its_queue_starts(
    number: int, limit: int | None, deployment: AddDeployment
) -> None:
    async def story(world: WorkerWorld) -> None:
        hold_back(world, deployment(world), number)
        run = world.server.schedule(POOL)
        await world.start(limit=limit)
        await world.until_state(run, StateType.COMPLETED)

    play(story)


@HELD_BACK
@DEPLOYMENTS
def test_a_run_of_a_queue_of_less_priority_starts(number: int, deployment: AddDeployment) -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.add_queue(POOL, "high", priority=1)
        hold_back(world, deployment(world), number, queue="high")
        await world.start(prefetch_seconds=60.0)
        await asyncio.sleep(120.0)
        run = world.server.schedule(POOL)
        await world.until_state(run, StateType.COMPLETED)

    play(story)


@HELD_BACK
def test_runs_that_are_due_at_the_very_same_moment_start(number: int) -> None:
    async def story(world: WorkerWorld) -> None:
        due, off = world.clock.now(), an_off_deployment(world)
        for _ in range(number):
            world.server.schedule(POOL, deployment_id=off, due=due)
        run = world.server.schedule(POOL, due=due)
        await world.start()
        await world.until_state(run, StateType.COMPLETED)

    play(story)


@HELD_BACK
@pytest.mark.parametrize("limited", ["pool", "queue"])
def test_a_pool_or_queue_that_is_limited_to_fewer_runs_than_are_held_back_goes_on(
    limited: str, number: int
) -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.add_pool(POOL, concurrency_limit=2 if limited == "pool" else None)
        limit = 2 if limited == "queue" else None
        world.server.add_queue(POOL, "narrow", concurrency_limit=limit)
        hold_back(world, an_off_deployment(world), number, queue="narrow")
        others = [world.server.schedule(POOL, queue="narrow") for _ in range(6)]
        peak = 0

        def all_done() -> bool:
            nonlocal peak
            states = [world.state(run) for run in others]
            busy = (StateType.PENDING, StateType.RUNNING)
            peak = max(peak, sum(state in busy for state in states))
            return all(state is StateType.COMPLETED for state in states)

        await world.start()
        await world.until(all_done)
        assert peak == 2

    play(story)


def test_a_paused_queue_is_not_emptied_by_another_way() -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.add_queue(POOL, "paused", is_paused=True)
        hold_back(world, an_off_deployment(world), 250)
        there = world.server.schedule(POOL, queue="paused")
        here = world.server.schedule(POOL)
        await world.start()
        await world.until_state(here, StateType.COMPLETED)
        await asyncio.sleep(120.0)
        assert world.state(there) is StateType.SCHEDULED

    play(story)


def test_only_the_chosen_queues_are_searched() -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.add_queue(POOL, "mine")
        hold_back(world, an_off_deployment(world), 250, queue="mine")
        others = world.server.schedule(POOL)
        mine = world.server.schedule(POOL, queue="mine")
        await world.start(work_queues=("mine",))
        await world.until_state(mine, StateType.COMPLETED)
        await asyncio.sleep(120.0)
        assert world.state(others) is StateType.SCHEDULED

    play(story)


def test_who_waits_is_served_by_queue_priority_and_then_by_time() -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.add_queue(POOL, "high", priority=1)
        off = an_off_deployment(world)
        hold_back(world, off, 250, queue="high")
        hold_back(world, off, 250)
        now = world.clock.now()
        wanted = [
            world.server.schedule(POOL, queue=queue, due=now - timedelta(seconds=age))
            for queue, age in [("high", 2), ("high", 1), ("default", 4), ("default", 3)]
        ]
        started: list[str] = []

        def script(process: ScriptedProcess) -> None:
            started.append(process.order.env["PREFECT__FLOW_RUN_ID"])
            world.engine(process)

        world.keeper.script = script
        await world.start(limit=1)
        await world.until(lambda: len(started) == len(wanted))
        assert started == wanted

    play(story)


def test_runs_of_a_deployment_that_lets_runs_in_again_start_behind_others_that_wait() -> None:
    async def story(world: WorkerWorld) -> None:
        hold_back(world, an_off_deployment(world), 250)
        again = an_off_deployment(world)
        runs = hold_back(world, again, 5)
        await world.start()
        await asyncio.sleep(60.0)
        world.server.limits[again] = 1
        await world.until(lambda: all(world.state(run) is StateType.COMPLETED for run in runs))
        assert world.clock.monotonic() < 300.0

    play(story)


def test_nothing_is_searched_while_polls_bring_all_that_is_due() -> None:
    async def story(world: WorkerWorld) -> None:
        hold_back(world, a_full_deployment(world), 5)
        hold_back(world, an_off_deployment(world), 5)
        await world.start()
        requests = requests_of(world)
        for _ in range(60):
            world.server.schedule(POOL)
            await asyncio.sleep(QUERY_SECONDS)
        assert requests["read_scheduled_runs"] == 0
        assert requests["read_due_runs"] <= 70
        assert requests["read_work_queues"] <= 30

    play(story)


def test_a_search_in_vain_is_repeated_once_per_poll_interval_at_most() -> None:
    async def story(world: WorkerWorld) -> None:
        hold_back(world, an_off_deployment(world), 250)
        await world.start(limit=2)
        await asyncio.sleep(60.0)
        requests = requests_of(world)
        await asyncio.sleep(600.0)
        assert 30 <= requests["read_scheduled_runs"] <= 60

    play(story)


def test_a_search_that_fails_costs_none_of_what_the_poll_brought() -> None:
    async def story(world: WorkerWorld) -> None:
        async def refuse(operation: str, phase: str) -> None:
            if operation == "read_scheduled_runs":
                raise InvalidRequest("no such filter", status=422)

        world.orchestrator.faults = refuse
        hold_back(world, an_off_deployment(world), 250)
        await world.start()
        await asyncio.sleep(60.0)
        due = world.clock.now() - timedelta(days=1)
        run = world.server.schedule(POOL, due=due)
        await world.until_state(run, StateType.COMPLETED)

    play(story)
