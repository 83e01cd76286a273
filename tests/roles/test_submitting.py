"""Submitting: what a run is called between its claim and its process."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actors.domain.errors import InvalidRequest, Unavailable
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.testing.faults import Faults
from tests.support.worker_world import POOL, WorkerWorld, play

STARTED = ["Scheduled", "Pending", "Submitting", "Running", "Completed"]
WITHOUT = [name for name in STARTED if name != "Submitting"]


def names(world: WorkerWorld, run: FlowRunId) -> list[str]:
    return [state.name for state in world.server.history_of(run)]


async def a_started_run(world: WorkerWorld, **settings: bool) -> FlowRunId:
    run = world.server.schedule(POOL)
    await world.start(**settings)
    await world.until_state(run, StateType.COMPLETED)
    await world.until_settled()
    return run


@pytest.mark.parametrize("is_on", [True, False])
def test_a_run_is_submitting_before_its_process_starts_unless_that_is_off(is_on: bool) -> None:
    async def story(world: WorkerWorld) -> None:
        run = await a_started_run(world, submitting_state=is_on)
        assert names(world, run) == (STARTED if is_on else WITHOUT)

    play(story)


def test_an_old_server_is_left_alone_with_it() -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.version = "3.6.21"
        assert names(world, await a_started_run(world)) == WITHOUT

    play(story)


def fails_at(world: WorkerWorld, operation: str, error: Exception, *, pending: bool) -> Faults:
    """An error instead of each such answer about a run that is Pending, or in every state."""

    async def faults(done: str, when: str) -> None:
        is_pending = any(run.state.name == "Pending" for run in world.server.runs.values())
        if (done, when) == (operation, "before") and is_pending >= pending:
            raise error

    return faults


@pytest.mark.parametrize("error", [Unavailable("away"), InvalidRequest("unknown", status=422)])
@pytest.mark.parametrize("operation", ["propose_state", "knows_submitting"])
def test_a_failure_of_it_costs_the_run_nothing(operation: str, error: Exception) -> None:
    async def story(world: WorkerWorld) -> None:
        pending = operation == "propose_state"
        world.orchestrator.faults = fails_at(world, operation, error, pending=pending)
        assert names(world, await a_started_run(world)) == WITHOUT

    play(story)


def test_a_run_that_is_cancelled_right_after_its_claim_gets_no_process() -> None:
    async def story(world: WorkerWorld) -> None:
        async def faults(done: str, when: str) -> None:
            if (done, when) == ("read_flow", "after"):
                world.server.cancel(run)

        world.orchestrator.faults = faults
        run = world.server.schedule(POOL)
        await world.start()
        await world.until_state(run, StateType.CANCELLED)
        await world.until_settled()
        assert names(world, run) == ["Scheduled", "Pending", "Cancelling", "Cancelled"]
        assert not world.keeper.spawned

    play(story)


@pytest.mark.parametrize("command", [None, "prefect flow-run execute"])
def test_a_successor_does_not_say_it_again(command: str | None) -> None:
    async def story(world: WorkerWorld) -> None:
        said = asyncio.Event()

        async def faults(done: str, when: str) -> None:
            if (done, when) == ("propose_state", "after") and names(world, run)[
                -1
            ] == "Submitting":
                said.set()
                await asyncio.sleep(1000)

        world.orchestrator.faults = faults
        run = world.server.schedule(
            POOL, job_variables={"command": command, "report_states": True}
        )
        await world.start()
        await said.wait()
        await world.kill()
        world.orchestrator.faults = None
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        assert names(world, run).count("Submitting") == 1

    play(story)


@pytest.mark.parametrize("end", [StateType.COMPLETED, StateType.FAILED, StateType.SCHEDULED])
def test_it_is_not_put_over_what_others_have_set_while_the_run_waited(end: StateType) -> None:
    async def story(world: WorkerWorld) -> None:
        due = world.clock.now() + timedelta(seconds=8)
        run = world.server.schedule(POOL, due=due, job_variables={"command": "true"})
        await world.start()
        await world.until_state(run, StateType.PENDING)
        await asyncio.sleep(4.0)
        world.server.pause_pool(POOL)
        world.server.set_state(run, end)
        await world.until_settled()
        assert names(world, run)[-1] == end.title()
        assert not world.keeper.spawned

    play(story)
