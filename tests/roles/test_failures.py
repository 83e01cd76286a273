"""Worker, actor or server fails, on virtual time: what an operator expects all the same."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from actors.domain.errors import NotFound, Unavailable
from actors.domain.model import StateType
from actors.messages.health_reporter import CurrentHealth
from tests.support.worker_world import POOL, WorkerWorld, play


def test_a_killed_worker_is_succeeded_by_one_that_reports_the_right_exit() -> None:
    async def story(world: WorkerWorld) -> None:
        world.keeper.script = world.sleeper
        runs = [world.server.schedule(POOL) for _ in range(3)]
        await world.start()
        await world.until(lambda: all(world.state(r) is StateType.RUNNING for r in runs))
        alive = {p.order.env["PREFECT__FLOW_RUN_ID"]: p for p in world.keeper.alive()}
        await world.kill()
        alive[runs[0]].end(7)
        await world.start()
        await world.until_state(runs[0], StateType.CRASHED)
        assert "7" in (world.server.run(runs[0]).state.message or "")
        await world.until(lambda: len(world.supervisors()) == 2)
        alive[runs[1]].end(3)
        await world.until_state(runs[1], StateType.CRASHED)
        world.server.cancel(runs[2])
        await world.until_state(runs[2], StateType.CANCELLED)
        assert len(world.keeper.spawned) == 3

    play(story)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_lost_answer_to_a_claim_neither_strands_nor_doubles_the_run(
    lost: Literal["before", "after"],
) -> None:
    async def story(world: WorkerWorld) -> None:
        left = 2

        async def faults(operation: str, phase: Literal["before", "after"]) -> None:
            nonlocal left
            if operation == "propose_state" and phase == lost and left:
                left -= 1
                raise Unavailable("lost")

        run = world.server.schedule(POOL)
        world.orchestrator.faults = faults
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        assert len(world.keeper.spawned) == 1

    play(story)


def test_an_outage_delays_the_report_and_loses_nothing() -> None:
    async def story(world: WorkerWorld) -> None:
        away = False

        async def faults(operation: str, phase: str) -> None:
            if away:
                raise Unavailable("the server is away")

        world.orchestrator.faults = faults
        world.keeper.script = world.sleeper
        run = world.server.schedule(POOL)
        wiring = await world.start()
        await world.until_state(run, StateType.RUNNING)
        away = True
        world.keeper.alive()[0].end(1)
        await asyncio.sleep(600)
        health = await wiring.directory.address("health_reporter").request(
            CurrentHealth(), timeout=5
        )
        assert not health.healthy
        away = False
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()

    play(story)


@pytest.mark.parametrize("name", ["poller", "dispatcher", "heartbeater", "cancellation_watcher"])
def test_a_service_that_fails_is_restarted_without_disturbing_a_run(name: str) -> None:
    async def story(world: WorkerWorld) -> None:
        run, _ = await world.start_running(limit=2)
        await world.fail(name)
        other = world.server.schedule(POOL)
        await world.until_state(other, StateType.RUNNING)
        assert len(await world.in_hand()) == 2
        assert len(world.keeper.spawned) == 2
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)

    play(story)


def test_a_supervisor_that_fails_is_succeeded_and_its_run_accounted_for() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await world.start_running(limit=1)
        await world.fail(world.supervisors()[0])
        assert [s.holds_slot for s in await world.in_hand()] == [True]
        process.end(5)
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        assert len(world.keeper.spawned) == 1

    play(story)


def test_a_service_that_keeps_failing_makes_the_worker_give_up_loudly() -> None:
    async def story(world: WorkerWorld) -> None:
        wiring = await world.start()
        while not wiring.guardian.has_ended:
            poller = wiring.directory.find("poller")
            if poller is not None:
                poller.kill()
            await asyncio.sleep(0.5)
        assert "poller" in str(wiring.guardian.failure)

    play(story)


def test_a_server_that_comes_later_is_waited_for() -> None:
    async def story(world: WorkerWorld) -> None:
        away = True

        async def faults(operation: str, phase: str) -> None:
            if away:
                raise Unavailable("no server there")

        world.orchestrator.faults = faults
        run = world.server.schedule(POOL)
        await world.start()
        await asyncio.sleep(300)
        away = False
        await world.until_state(run, StateType.COMPLETED)

    play(story)


def test_a_refusal_of_any_kind_does_not_end_the_worker() -> None:
    async def story(world: WorkerWorld) -> None:
        strange = True

        async def faults(operation: str, phase: str) -> None:
            if strange:
                raise NotFound("nothing of that kind here", status=404)

        wiring = await world.start()
        await asyncio.sleep(5)
        world.orchestrator.faults = faults
        await asyncio.sleep(300)
        strange = False
        run = world.server.schedule(POOL)
        await world.until_state(run, StateType.COMPLETED)
        assert wiring.guardian.is_alive()

    play(story)
