"""A run is cancelled wherever in its life it is, within its grace period plus a second, virtually.

The time counts from the look that brought the wish: how often the worker looks is a setting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import pytest

from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.domain.process import SpawnOrder
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import POOL, WorkerWorld, play

GRACE_SECONDS: Final = 5.0

Arrange = Callable[[WorkerWorld], Awaitable[FlowRunId]]

PHASES: Final[dict[str, Arrange]] = {}


def phase(arrange: Arrange) -> Arrange:
    """One phase, by its name."""
    PHASES[arrange.__name__] = arrange
    return arrange


def a_run(world: WorkerWorld, **job: object) -> FlowRunId:
    return world.server.schedule(POOL, job_variables={"grace_seconds": GRACE_SECONDS, **job})


async def a_running_run(world: WorkerWorld) -> FlowRunId:
    world.keeper.script = world.sleeper
    run = a_run(world)
    await world.until_state(run, StateType.RUNNING)
    return run


@phase
async def claimed(world: WorkerWorld) -> FlowRunId:
    """A plain command that waits until it is due."""
    due = world.clock.now() + timedelta(seconds=9)
    run = world.server.schedule(POOL, due=due, job_variables={"command": "make"})
    await world.until_state(run, StateType.PENDING)
    return run


@phase
async def spawning(world: WorkerWorld) -> FlowRunId:
    attempts: list[str] = []

    def not_now(order: SpawnOrder) -> str:
        attempts.append(order.key)
        return "no process to have now"

    world.keeper.trouble = not_now
    run = a_run(world)
    await world.until(lambda: bool(attempts))
    world.keeper.trouble = None
    return run


@phase
async def booting(world: WorkerWorld) -> FlowRunId:
    world.keeper.script = None
    run = a_run(world)
    await world.until(lambda: bool(world.keeper.alive()))
    return run


@phase
async def running(world: WorkerWorld) -> FlowRunId:
    return await a_running_run(world)


@phase
async def hung(world: WorkerWorld) -> FlowRunId:
    run = await a_running_run(world)
    world.keeper.alive()[0].ignores_signals = True
    return run


@phase
async def exiting(world: WorkerWorld) -> FlowRunId:
    """It is about to end by itself, well, and reports nothing any more."""
    run = await a_running_run(world)
    process: ScriptedProcess = world.keeper.alive()[0]
    world.clock.call_later(0.2, lambda: process.end(0))
    return run


@phase
async def adopted(world: WorkerWorld) -> FlowRunId:
    run = await a_running_run(world)
    await world.kill()
    await world.start(query_seconds=1.0)
    return run


@pytest.mark.parametrize("name", PHASES)
def test_a_run_is_cancelled_in_every_phase_of_its_life(name: str) -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start(query_seconds=1.0)
        run = await PHASES[name](world)
        seen: list[float] = []

        async def faults(operation: str, when: str) -> None:
            is_wanted = world.state(run) is StateType.CANCELLING
            if (operation, when) == ("read_cancelling_runs", "after") and is_wanted:
                seen.append(world.clock.monotonic())

        world.orchestrator.faults = faults
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)
        assert seen or name in ("spawning", "exiting")  # which look at their state sooner
        assert not seen or world.clock.monotonic() - seen[0] <= GRACE_SECONDS + 1
        assert StateType.CRASHED not in world.server.types_of(run)
        assert not world.keeper.alive()
        await world.until_settled()

    play(story)
