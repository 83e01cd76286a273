"""Runs that are being cancelled, ours and others', on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import timedelta

import pytest

from actors.domain.errors import Unavailable
from actors.domain.ids import FlowRunId
from actors.domain.model import FlowRun, StateType
from tests.support.worker_world import POOL, WorkerWorld, play

REMEMBERED_SECONDS = 600.0


RUNNER = {"command": "/venv/bin/prefect  flow-run execute"}


def a_foreign_run(world: WorkerWorld, job: Mapping[str, str] | None = None) -> FlowRunId:
    """One that another worker has started."""
    run = world.server.schedule(POOL, job_variables=job)
    world.server.set_state(run, StateType.PENDING)
    world.server.set_state(run, StateType.RUNNING)
    return run


def looks_of(world: WorkerWorld) -> list[frozenset[FlowRunId]]:
    """Which runs each look of the watcher leaves out; filled as it looks."""
    looks: list[frozenset[FlowRunId]] = []
    read = world.orchestrator.read_cancelling_runs

    async def watched(
        pool: str, queues: Collection[str], *, excluding: Collection[FlowRunId]
    ) -> list[FlowRun]:
        looks.append(frozenset(excluding))
        return await read(pool, queues, excluding=excluding)

    world.orchestrator.read_cancelling_runs = watched  # type: ignore[method-assign]
    return looks


def test_a_runner_that_hangs_while_it_cancels_is_ended_after_its_grace_and_ours() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await world.start_running(job_variables=RUNNER, limit=1)
        process.ignores_signals = True
        cancelled_at = world.clock.monotonic()
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)
        assert 90.0 <= world.clock.monotonic() - cancelled_at < 180.0
        assert not world.keeper.alive()
        world.keeper.script = world.engine
        await world.until_state(world.server.schedule(POOL), StateType.COMPLETED)

    play(story)


def test_a_cancelled_run_ends_cancelled_even_if_it_ignores_the_signal() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await world.start_running()
        process.ignores_signals = True
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)
        assert process.told_to_cancel
        assert process.exit is not None
        assert process.exit.code == -9
        await world.until_settled()

    play(story)


@pytest.mark.parametrize(
    ("pid", "outcome"),
    [
        (None, StateType.CANCELLED),
        ("here:99", StateType.CANCELLED),
        ("elsewhere:99", StateType.CANCELLING),
        ("99", StateType.CANCELLING),
        ("unix:///var/run/docker.sock:3f2ab", StateType.CANCELLING),
    ],
)
def test_of_a_run_that_is_not_ours_only_what_is_certain_is_said(
    pid: str | None, outcome: StateType
) -> None:
    async def story(world: WorkerWorld) -> None:
        run = a_foreign_run(world)
        if pid is not None:
            await world.orchestrator.set_infrastructure_pid(run, pid)
        world.server.cancel(run)
        await world.start()
        await asyncio.sleep(120)
        assert world.state(run) is outcome

    play(story)


def test_a_runner_of_ours_is_left_to_cancel_its_run_itself() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await world.start_running(job_variables=RUNNER)
        world.server.cancel(run)
        await asyncio.sleep(55)
        assert process.signals == []
        world.server.set_state(run, StateType.CANCELLED)
        process.end(0)
        await world.until_settled()
        assert world.server.types_of(run)[-2:] == [StateType.CANCELLING, StateType.CANCELLED]

    play(story)


def test_a_runner_of_another_worker_is_left_to_cancel_its_run_itself() -> None:
    async def story(world: WorkerWorld) -> None:
        run = a_foreign_run(world, RUNNER)
        world.server.cancel(run)
        await world.start()
        await asyncio.sleep(120)
        assert world.state(run) is StateType.CANCELLING

    play(story)


def test_a_run_whose_worker_is_just_starting_it_is_left_to_that_worker() -> None:
    async def story(world: WorkerWorld) -> None:
        run = a_foreign_run(world)
        world.server.cancel(run)
        await world.start()
        await asyncio.sleep(1)
        await world.orchestrator.set_infrastructure_pid(run, "elsewhere:99")
        await asyncio.sleep(120)
        assert world.state(run) is StateType.CANCELLING

    play(story)


def test_a_command_that_another_hand_has_cancelled_while_it_waited_is_not_started() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(
            POOL,
            due=world.clock.now() + timedelta(seconds=8),
            job_variables={"command": "make all"},
        )
        await world.start()
        await world.until_state(run, StateType.PENDING)
        world.server.set_state(run, StateType.CANCELLED)
        await world.until_settled()
        assert world.keeper.spawned == []
        assert world.state(run) is StateType.CANCELLED

    play(story)


def test_what_has_been_dealt_with_is_left_out_for_ten_minutes() -> None:
    async def story(world: WorkerWorld) -> None:
        run = a_foreign_run(world)
        await world.orchestrator.set_infrastructure_pid(run, "elsewhere:99")
        world.server.cancel(run)
        looks = looks_of(world)
        await world.start()
        await asyncio.sleep(2 * REMEMBERED_SECONDS)
        left_out = [run in look for look in looks]
        assert left_out[0] is False
        assert all(left_out[1:20])
        assert left_out.count(False) == 2
        remarks = [line.message for line in world.server.logs if line.flow_run_id == run]
        assert len(remarks) == 1, "said once, though it was found again"

    play(story)


def test_an_error_while_cancelling_is_tried_again() -> None:
    async def story(world: WorkerWorld) -> None:
        failures = 0

        async def faults(operation: str, phase: str) -> None:
            nonlocal failures
            if (operation, phase) == ("propose_state", "before") and failures < 3:
                failures += 1
                raise Unavailable("not now")

        run = a_foreign_run(world)
        await world.orchestrator.set_infrastructure_pid(run, "here:99")
        world.server.cancel(run)
        world.orchestrator.faults = faults
        await world.start()
        await world.until_state(run, StateType.CANCELLED)
        assert failures == 3

    play(story)
