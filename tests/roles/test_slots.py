"""The one slot of a worker with ``limit=1`` is free again after every kind of end, virtually."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from actors.domain.errors import Unavailable
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.domain.record import MEBIBYTE
from actors.testing.processes import ScriptedProcess
from actors.testing.state_rules import OnFull
from tests.support.worker_world import POOL, WorkerWorld, play

Story = Callable[[WorkerWorld], Awaitable[None]]

STORIES: Final[dict[str, Story]] = {}


def end(story: Story) -> Story:
    """One kind of end, by its name."""
    STORIES[story.__name__] = story
    return story


async def running(world: WorkerWorld, **job: object) -> tuple[FlowRunId, ScriptedProcess]:
    """A run that goes on for ever, and its process."""
    world.keeper.script = world.sleeper
    run = world.server.schedule(POOL, job_variables=job)
    await world.until_state(run, StateType.RUNNING)
    return run, world.keeper.alive()[0]


@end
async def completed(world: WorkerWorld) -> None:
    await world.until_state(world.server.schedule(POOL), StateType.COMPLETED)


@end
async def failed(world: WorkerWorld) -> None:
    run, process = await running(world)
    world.server.set_state(run, StateType.FAILED)
    process.end(1)
    await world.until_settled()
    assert world.state(run) is StateType.FAILED


@end
async def killed(world: WorkerWorld) -> None:
    run, process = await running(world)
    process.end(-9)
    await world.until_state(run, StateType.CRASHED)


@end
async def left_pending(world: WorkerWorld) -> None:
    run = world.server.schedule(POOL, job_variables={"command": "true"})
    await world.until_state(run, StateType.PENDING)
    await world.until_settled()


@end
async def could_not_start(world: WorkerWorld) -> None:
    world.keeper.refuse = lambda order: "there is no such command"
    await world.until_state(world.server.schedule(POOL), StateType.CRASHED)
    world.keeper.refuse = lambda order: None


@end
async def wrong_job(world: WorkerWorld) -> None:
    run = world.server.schedule(POOL, job_variables={"command": "an 'open quote"})
    await world.until_state(run, StateType.CRASHED)


@end
async def cancelled(world: WorkerWorld) -> None:
    run, _ = await running(world)
    world.server.cancel(run)
    await world.until_state(run, StateType.CANCELLED)


@end
async def cancelled_before_its_start(world: WorkerWorld) -> None:
    run = world.server.schedule(POOL)
    world.server.cancel(run)
    await world.until_state(run, StateType.CANCELLED)


@end
async def timed_out(world: WorkerWorld) -> None:
    run, process = await running(world, timeout_seconds=60)
    await world.until_state(run, StateType.CRASHED)
    assert process.signals == [15]


@end
async def out_of_memory(world: WorkerWorld) -> None:
    run, process = await running(world, memory_limit_mb=1)
    world.measure.runs[process.key] = 2 * MEBIBYTE
    await world.until_state(run, StateType.CRASHED)


@end
async def refused(world: WorkerWorld) -> None:
    """Aborted: a deployment with a limit of 0 lets nothing in, ever."""
    never = world.server.add_deployment(concurrency_limit=0)
    run = world.server.schedule(POOL, deployment_id=never)
    await asyncio.sleep(60)
    assert StateType.PENDING not in world.server.types_of(run)
    world.server.delete_run(run)


@end
async def put_off(world: WorkerWorld) -> None:
    full = world.server.add_deployment(concurrency_limit=1)
    holder = world.server.schedule("elsewhere", deployment_id=full)
    world.server.set_state(holder, StateType.PENDING)
    run = world.server.schedule(POOL, deployment_id=full)
    await world.until(lambda: world.server.run(run).state.name == "AwaitingConcurrencySlot")


@end
async def cancelled_for_want_of_a_deployments_slot(world: WorkerWorld) -> None:
    full = world.server.add_deployment(concurrency_limit=1, on_full=OnFull.CANCEL_NEW)
    holder = world.server.schedule("elsewhere", deployment_id=full)
    world.server.set_state(holder, StateType.PENDING)
    run = world.server.schedule(POOL, deployment_id=full)
    await world.until_state(run, StateType.CANCELLED)


@end
async def deployment_deleted(world: WorkerWorld) -> None:
    deployment = world.server.add_deployment()

    async def faults(operation: str, phase: str) -> None:
        if (operation, phase) == ("read_deployment", "before"):
            world.server.deployments.pop(deployment, None)

    world.orchestrator.faults = faults
    run = world.server.schedule(POOL, deployment_id=deployment)
    await world.until_state(run, StateType.CANCELLED)


@end
async def deleted_before_its_claim(world: WorkerWorld) -> None:
    run = world.server.schedule(POOL)

    async def faults(operation: str, phase: str) -> None:
        if (operation, phase) == ("propose_state", "before") and run in world.server.runs:
            world.server.delete_run(run)

    world.orchestrator.faults = faults
    await world.until(lambda: run not in world.server.runs)


@end
async def deleted_while_it_ran(world: WorkerWorld) -> None:
    run, process = await running(world)
    world.server.delete_run(run)
    process.end(3)


@end
async def reported_late(world: WorkerWorld) -> None:
    run, process = await running(world)

    async def faults(operation: str, phase: str) -> None:
        raise Unavailable("no answer")

    world.orchestrator.faults = faults
    process.end(3)
    await asyncio.sleep(600)
    world.orchestrator.faults = None
    await world.until_state(run, StateType.CRASHED)


@end
async def adopted(world: WorkerWorld) -> None:
    run, process = await running(world)
    await world.kill()
    await world.start(limit=1)
    process.end(3)
    await world.until_state(run, StateType.CRASHED)


@pytest.mark.parametrize("kind", STORIES)
def test_a_slot_is_free_again_after_every_kind_of_end(kind: str) -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.add_pool("elsewhere")
        await world.start(limit=1)
        await STORIES[kind](world)
        world.keeper.script = world.engine
        # one at a time, still: a slot that was given back twice would let both in
        runs = [world.server.schedule(POOL) for _ in range(2)]
        most = 0

        def are_over() -> bool:
            nonlocal most
            most = max(most, len(world.keeper.alive()))
            return {world.state(run) for run in runs} == {StateType.COMPLETED}

        await world.until(are_over)
        assert most == 1

    play(story)


def test_a_run_that_is_over_frees_its_slot_whatever_hangs() -> None:
    """The server answers neither its report nor its pid, its labels and its log."""
    hanging = {"read_flow_run", "set_infrastructure_pid", "add_labels", "send_logs", "send_events"}

    async def story(world: WorkerWorld) -> None:
        over = asyncio.Event()

        async def faults(operation: str, phase: str) -> None:
            if operation in hanging and phase == "before":
                await over.wait()

        world.orchestrator.faults = faults
        world.keeper.script = world.sleeper
        await world.start(limit=1)
        runs = [world.server.schedule(POOL) for _ in range(3)]
        for _ in runs:
            await world.until(lambda: bool(world.keeper.alive()))
            [process] = world.keeper.alive()
            process.end(3)
        assert StateType.CRASHED not in {world.state(run) for run in runs}
        over.set()
        for run in runs:
            await world.until_state(run, StateType.CRASHED)

    play(story)
