"""How a worker stops, and what it leaves, on virtual time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from actors.domain.errors import Unavailable
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.domain.policy import OnDeadline
from actors.domain.record import Phase
from actors.messages.guardian import Deadline, Drain
from actors.messages.health_reporter import CurrentHealth, Health
from tests.support.worker_world import POOL, WorkerWorld, play

DRAINING_SECONDS = 7200.0


async def health_of(world: WorkerWorld) -> Health:
    assert world.wiring is not None
    return await world.wiring.directory.address("health_reporter").request(
        CurrentHealth(), timeout=5
    )


def test_draining_takes_nothing_new_and_ends_when_the_last_run_does() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL)
        wiring = await world.start()
        await world.until_state(run, StateType.RUNNING)
        wiring.guardian.tell(Drain())
        later = world.server.schedule(POOL)
        await wiring.guardian.joined()
        assert wiring.guardian.failure is None
        assert world.state(run) is StateType.COMPLETED
        assert world.state(later) is StateType.SCHEDULED
        assert [e.event for e in world.server.events][-1] == "prefect.worker.stopped"

    play(story)


@pytest.mark.parametrize("on_deadline", OnDeadline)
def test_at_the_deadline_runs_are_ended_or_left(on_deadline: OnDeadline) -> None:
    async def story(world: WorkerWorld) -> None:
        run, _ = await world.start_running(on_deadline=on_deadline)
        world.guardian.tell(Drain())
        world.guardian.tell(Deadline())
        await world.guardian.joined()
        if on_deadline is OnDeadline.TERMINATE:
            assert world.state(run) is StateType.CRASHED
            assert "worker" in (world.server.run(run).state.message or "").lower()
            assert not world.keeper.alive()
        else:
            assert world.state(run) is StateType.RUNNING
            assert world.keeper.alive()

    play(story)


def test_what_is_on_its_way_when_the_worker_stops_is_delivered_all_the_same() -> None:
    async def story(world: WorkerWorld) -> None:
        async def slow(operation: str, phase: str) -> None:
            if operation == "send_events" and phase == "before":
                await asyncio.sleep(1)

        world.orchestrator.faults = slow
        await world.start()
        await world.until(lambda: bool(world.server.heartbeats))
        await world.stop()
        assert [event.event for event in world.server.events] == [
            "prefect.worker.started",
            "prefect.worker.stopped",
        ]

    play(story)


@pytest.mark.parametrize("query_seconds", [0.5, 10.0])
def test_a_worker_that_drains_for_hours_is_healthy(query_seconds: float) -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start_running(query_seconds=query_seconds)
        world.guardian.tell(Drain())
        await asyncio.sleep(DRAINING_SECONDS)
        assert (await health_of(world)).healthy

        async def away(operation: str, phase: str) -> None:
            raise Unavailable("no server there")

        world.orchestrator.faults = away
        await asyncio.sleep(DRAINING_SECONDS)
        assert not (await health_of(world)).healthy

    play(story)


def test_a_health_reporter_restarted_while_the_worker_drains_expects_no_polls() -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start_running(query_seconds=0.5)
        world.guardian.tell(Drain())
        failing = world.actor("health_reporter")
        failing.tell("an unknown message")
        await failing.joined()
        await asyncio.sleep(DRAINING_SECONDS)
        assert (await health_of(world)).healthy

    play(story)


def test_announced_maintenance_is_no_ill_health() -> None:
    async def story(world: WorkerWorld) -> None:
        async def away(operation: str, phase: str) -> None:
            raise Unavailable("maintenance")

        await world.start()
        await asyncio.sleep(60)
        assert (await health_of(world)).ready
        world.maintenance_until = world.clock.monotonic() + 3600
        assert not (await health_of(world)).ready
        world.orchestrator.faults = away
        world.maintenance_until = world.clock.monotonic() + 3600
        await asyncio.sleep(3600)
        assert (await health_of(world)).healthy
        await asyncio.sleep(3600)
        assert not (await health_of(world)).healthy

    play(story)


def test_a_server_that_is_away_at_the_deadline_does_not_keep_the_worker() -> None:
    """What it could not be told waits in the journal for the next worker."""

    async def story(world: WorkerWorld) -> None:
        away = True

        async def faults(operation: str, phase: str) -> None:
            if away:
                raise Unavailable("no server there")

        run, _ = await world.start_running()
        world.orchestrator.faults = faults
        world.guardian.tell(Deadline())
        began = world.clock.monotonic()
        await world.guardian.joined()
        assert world.clock.monotonic() - began < 60
        assert not world.keeper.alive()
        assert world.state(run) is StateType.RUNNING
        away = False
        await world.start()
        await world.until_state(run, StateType.CRASHED)
        assert "worker" in (world.server.run(run).state.message or "").lower()

    play(story)


def a_run_that_waits(world: WorkerWorld) -> FlowRunId:
    """A plain command that the first poll brings some seconds before it is due."""
    due = world.clock.now() + timedelta(seconds=9)
    return world.server.schedule(POOL, due=due, job_variables={"command": "make"})


def test_a_worker_that_leaves_gives_back_what_it_has_not_started() -> None:
    async def story(world: WorkerWorld) -> None:
        world.keeper.script = world.sleeper
        going, run = world.server.schedule(POOL), a_run_that_waits(world)
        wiring = await world.start(on_deadline=OnDeadline.LEAVE)
        await world.until_state(going, StateType.RUNNING)
        await world.until_state(run, StateType.PENDING)
        began = world.clock.monotonic()
        wiring.guardian.tell(Deadline())
        await wiring.guardian.joined()
        assert world.clock.monotonic() - began < 1
        state = world.server.run(run).state
        assert state.type is StateType.SCHEDULED
        assert (
            state.details["scheduled_time"]
            == world.server.history_of(run)[0].details["scheduled_time"]
        )
        assert [r.phase for r in world.journal.unsettled] == [Phase.RUNNING]
        assert len(world.keeper.alive()) == 1
        await world.start()
        await world.until(lambda: len(world.keeper.spawned) == 2)

    play(story)


def test_a_server_that_is_away_does_not_keep_a_worker_that_leaves() -> None:
    async def story(world: WorkerWorld) -> None:
        run = a_run_that_waits(world)
        wiring = await world.start(on_deadline=OnDeadline.LEAVE)
        await world.until_state(run, StateType.PENDING)

        async def away(operation: str, phase: str) -> None:
            raise Unavailable("no server there")

        world.orchestrator.faults = away
        wiring.guardian.tell(Deadline())
        await wiring.guardian.joined()
        assert world.state(run) is StateType.PENDING
        world.orchestrator.faults = None
        await world.start()
        await world.until_state(run, StateType.SCHEDULED)
        await world.until(lambda: len(world.keeper.spawned) == 1)

    play(story)
