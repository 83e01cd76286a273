"""Memory limits of runs and of the machine, on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from actors.domain.errors import Unavailable
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.domain.record import MEBIBYTE
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import POOL, WorkerWorld, play


async def running(world: WorkerWorld, **job: object) -> tuple[FlowRunId, ScriptedProcess]:
    """A run with these job variables, and its process."""
    return await world.start_running(job_variables=job)


def test_a_run_that_holds_more_than_its_limit_is_ended_and_says_why() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world, memory_limit_mb=100)
        world.measure.runs[process.key] = 100 * MEBIBYTE
        await asyncio.sleep(10)
        assert process.exit is None
        world.measure.runs[process.key] += 1
        await world.until_state(run, StateType.CRASHED)
        assert process.signals == [15]
        assert "more memory than 100 MB" in (world.server.run(run).state.message or "")

    play(story)


def test_a_limit_holds_for_an_adopted_run_too() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world, memory_limit_mb=100)
        await world.kill()
        world.measure.runs[process.key] = 101 * MEBIBYTE
        await world.start()
        await world.until_state(run, StateType.CRASHED)

    play(story)


def test_without_a_limit_a_run_may_hold_what_it_gets() -> None:
    async def story(world: WorkerWorld) -> None:
        _, process = await running(world)
        world.measure.runs[process.key] = 1 << 50
        await asyncio.sleep(60)
        assert process.exit is None
        assert world.measure.asked == set()

    play(story)


def test_only_runs_with_a_limit_are_measured_and_only_while_they_live() -> None:
    async def story(world: WorkerWorld) -> None:
        _, limited = await running(world, memory_limit_mb=100)
        world.server.schedule(POOL)
        await world.until(lambda: len(world.keeper.alive()) == 2)
        world.measure.asked.clear()
        await asyncio.sleep(10)
        assert world.measure.asked == {limited.key}

        async def be_away(operation: str, phase: str) -> None:
            raise Unavailable("nobody there")

        world.orchestrator.faults = be_away  # so that its end cannot be reported
        limited.end(1)
        await world.until(lambda: limited.gone)
        await asyncio.sleep(10)
        world.measure.asked.clear()
        await asyncio.sleep(10)
        assert world.measure.asked == set()
        world.orchestrator.faults = None

    play(story)


def test_a_dispatcher_that_starts_again_learns_which_runs_have_a_limit() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world, memory_limit_mb=100)
        await world.fail("dispatcher")
        world.measure.runs[process.key] = 101 * MEBIBYTE
        await world.until_state(run, StateType.CRASHED)

    play(story)


def test_a_machine_short_of_memory_gets_no_runs_but_polls_go_on() -> None:
    async def story(world: WorkerWorld) -> None:
        polls: list[str] = []

        async def count(operation: str, phase: str) -> None:
            if (operation, phase) == ("read_due_runs", "after"):
                polls.append(operation)

        world.orchestrator.faults = count
        world.measure.host_percent = 95.0
        runs = [world.server.schedule(POOL) for _ in range(3)]
        await world.start()
        await asyncio.sleep(100)
        assert len(polls) >= 5
        assert world.keeper.spawned == []
        world.measure.host_percent = 94.0  # hardly better: it would only come and go
        await asyncio.sleep(100)
        assert world.keeper.spawned == []
        world.measure.host_percent = 92.0
        await world.until(lambda: len(world.keeper.spawned) == 3)
        for run in runs:
            await world.until_state(run, StateType.COMPLETED)

    play(story)


@pytest.mark.parametrize(
    ("code", "seen", "words"),
    [
        (-9, True, "memory had run out"),
        (137, True, "memory had run out"),
        (-9, False, "SIGKILL"),
        (1, True, "code 1"),
    ],
)
def test_the_kernel_is_blamed_on_evidence_alone(code: int, seen: bool, words: str) -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        if not seen:  # somebody else's end, long before this one
            world.measure.kernel_kills[process.identity.pid] += 1
            await asyncio.sleep(10)
        else:
            world.measure.kernel_kills[process.identity.pid] += 1
        process.end(code)
        await world.until_state(run, StateType.CRASHED)
        message = world.server.run(run).state.message or ""
        assert words in message
        assert ("memory had run out" in message) == (words == "memory had run out")

    play(story)


def test_a_measure_that_fails_disturbs_nothing() -> None:
    async def story(world: WorkerWorld) -> None:
        world.measure.failure = OSError("no /proc")
        run = world.server.schedule(POOL)
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        assert world.measure.samples > 1

    play(story)
