"""A state folder whose disk is slow or stuck, on virtual time."""

from __future__ import annotations

import asyncio

import pytest

from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.domain.policy import OnDeadline
from actors.domain.record import Phase
from actors.messages.guardian import Deadline, Drain
from actors.messages.health_reporter import CurrentHealth
from actors.process_supervisor.journaling import LATE_SECONDS
from actors.runtime import Ping
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import POOL, WorkerWorld, play

SLOW_SECONDS = 3.0
LONG_SECONDS = 600.0


class Disk:
    """How long each write takes from now on; while it is ``stuck`` none ends."""

    def __init__(self, world: WorkerWorld) -> None:
        self.seconds = 0.0
        self.stuck = False
        self._world = world
        world.journal.delay = self._write

    async def _write(self) -> None:
        await asyncio.sleep(self.seconds)
        await self._world.until(lambda: not self.stuck)


async def running(world: WorkerWorld) -> FlowRunId:
    """A run whose process does not end by itself."""
    world.keeper.script = world.sleeper
    run = world.server.schedule(POOL)
    await world.until_state(run, StateType.RUNNING)
    return run


async def about_to_start(world: WorkerWorld, disk: Disk) -> FlowRunId:
    """A run that is claimed, and whose start waits for a disk that is stuck."""

    async def faults(operation: str, when: str) -> None:
        if operation == "read_flow":  # which may begin before the record of it is saved
            await world.until(lambda: phases() == [Phase.PREPARING])
            disk.stuck = True

    def phases() -> list[Phase]:
        return [record.phase for record in world.journal.unsettled]

    world.orchestrator.faults = faults
    run = world.server.schedule(POOL)
    await world.until(lambda: disk.stuck)
    await asyncio.sleep(LATE_SECONDS + 1)
    assert phases() == [Phase.PREPARING]
    world.orchestrator.faults = None
    return run


def test_nothing_is_claimed_or_started_before_its_record_is_written() -> None:
    async def story(world: WorkerWorld) -> None:
        disk = Disk(world)
        disk.seconds = SLOW_SECONDS
        recorded: dict[str, list[Phase]] = {}

        def note(what: str) -> None:
            recorded[what] = [record.phase for record in world.journal.unsettled]

        async def faults(operation: str, when: str) -> None:
            if (operation, when) == ("propose_state", "before"):
                note("claim")

        def start(process: ScriptedProcess) -> None:
            note("start")

        world.orchestrator.faults = faults
        world.keeper.script = start
        world.server.schedule(POOL)
        await world.start()
        await world.until(lambda: "start" in recorded)
        assert recorded == {"claim": [Phase.CLAIMING], "start": [Phase.SPAWNING]}

    play(story)


def test_a_worker_that_dies_while_its_disk_is_slow_has_claimed_nothing() -> None:
    async def story(world: WorkerWorld) -> None:
        disk = Disk(world)
        run = world.server.schedule(POOL)
        disk.stuck = True
        await world.start()
        await asyncio.sleep(LONG_SECONDS)
        assert world.state(run) is StateType.SCHEDULED
        await world.kill()
        disk.stuck = False
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        names = [state.name for state in world.server.history_of(run)]
        assert names.count("Pending") == 1

    play(story)


def test_a_disk_that_is_stuck_keeps_new_runs_waiting_and_nothing_else() -> None:
    async def story(world: WorkerWorld) -> None:
        disk = Disk(world)
        wiring = await world.start(query_seconds=1.0)
        ends, is_cancelled = [await running(world) for _ in range(2)]
        disk.stuck = True
        waiting = [world.server.schedule(POOL) for _ in range(3)]
        world.keeper.alive()[0].end(3)
        world.server.cancel(is_cancelled)
        await world.until_state(ends, StateType.CRASHED)
        await world.until_state(is_cancelled, StateType.CANCELLED)
        await asyncio.sleep(LONG_SECONDS)
        assert {world.state(run) for run in waiting} == {StateType.SCHEDULED}
        assert len(world.supervisors()) <= len(waiting)
        for name, ref in wiring.directory:
            await ref.request(Ping(), timeout=1.0)
            assert name
        health = wiring.directory.address("health_reporter")
        assert (await health.request(CurrentHealth(), timeout=1.0)).healthy
        disk.stuck = False
        world.keeper.script = world.engine
        for run in waiting:
            await world.until_state(run, StateType.COMPLETED)
        await world.until_settled()
        assert world.server.types_of(ends).count(StateType.CRASHED) == 1

    play(story)


def test_what_a_stuck_disk_did_not_take_is_reported_once_all_the_same() -> None:
    async def story(world: WorkerWorld) -> None:
        disk = Disk(world)
        await world.start()
        run = await running(world)
        disk.stuck = True
        world.keeper.alive()[0].end(3)
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        assert world.keeper.processes, "who knows of it if not the keeper?"
        await world.kill()
        disk.stuck = False
        await world.start()
        await asyncio.sleep(LONG_SECONDS)
        assert world.server.types_of(run).count(StateType.CRASHED) == 1
        assert not world.keeper.processes
        assert not world.journal.unsettled

    play(story)


def test_a_run_that_is_cancelled_while_its_start_waits_for_the_disk_is_never_started() -> None:
    async def story(world: WorkerWorld) -> None:
        disk = Disk(world)
        await world.start()
        run = await about_to_start(world, disk)
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)
        disk.stuck = False
        await world.until_settled()
        assert not world.keeper.spawned
        assert StateType.CRASHED not in world.server.types_of(run)

    play(story)


def test_a_start_that_waits_for_the_disk_is_made_when_that_answers() -> None:
    async def story(world: WorkerWorld) -> None:
        disk = Disk(world)
        await world.start()
        run = await about_to_start(world, disk)
        await asyncio.sleep(LONG_SECONDS)
        assert not world.keeper.spawned
        disk.stuck = False
        await world.until_state(run, StateType.COMPLETED)

    play(story)


@pytest.mark.parametrize("on_deadline", OnDeadline)
def test_a_stuck_disk_does_not_keep_a_worker_from_stopping_at_its_deadline(
    on_deadline: OnDeadline,
) -> None:
    async def story(world: WorkerWorld) -> None:
        disk = Disk(world)
        wiring = await world.start(on_deadline=on_deadline)
        run = await about_to_start(world, disk)
        wiring.guardian.tell(Drain())
        wiring.guardian.tell(Deadline())
        began = world.clock.monotonic()
        await wiring.guardian.joined()
        assert world.clock.monotonic() - began < 2 * LATE_SECONDS + 60
        assert not world.keeper.spawned
        ended = on_deadline is OnDeadline.TERMINATE
        assert world.state(run) is (StateType.CRASHED if ended else StateType.PENDING)

    play(story)
