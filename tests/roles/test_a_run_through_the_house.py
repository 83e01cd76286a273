"""The actors together, on virtual time: what an operator expects of a worker."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from actors.domain.errors import NotFound, Unavailable
from actors.domain.model import StateType
from actors.messages.health_reporter import CurrentHealth
from tests.support.worker_world import POOL, WorkerWorld, play


def test_a_due_run_is_claimed_started_and_left_completed() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL, deployment_id=world.server.add_deployment())
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        await world.until_settled()
        assert world.server.types_of(run) == [
            StateType.SCHEDULED,
            StateType.PENDING,
            StateType.PENDING,
            StateType.RUNNING,
            StateType.COMPLETED,
        ]
        pid = world.server.run(run).run.infrastructure_pid
        assert pid is not None
        assert pid.startswith("here:")
        assert world.server.run(run).labels["prefect.worker.name"] == "w"

    play(story)


def test_a_named_job_goes_by_its_name_in_both_logs_for_a_successor_too() -> None:
    def named(lines: list[EventDict]) -> set[str]:
        return {line["event"] for line in lines if line.get("job_name") == "nightly run-1"}

    async def story(world: WorkerWorld) -> None:
        world.keeper.script = world.sleeper
        run = world.server.schedule(
            POOL, job_variables={"name": "nightly {{ ctx.flow_run.name }}"}
        )
        with capture_logs() as first:
            await world.start()
            await world.until(lambda: any("started" in line.message for line in world.server.logs))
            [process] = world.keeper.alive()
            await world.kill()
        with capture_logs() as second:
            await world.start()
            process.end(1)
            await world.until_settled()
        pid = process.identity.pid
        said = [line.message for line in world.server.logs if line.flow_run_id == run]
        assert f"Process {pid} (nightly run-1) started." in said
        assert "run.remark" in named(first)
        assert {"run.adopted", "run.exited", "run.settled"} <= named(second)

    play(story)


def test_a_missing_pool_is_created_with_a_template_and_a_heartbeat() -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start(pool="new")
        await world.until(lambda: bool(world.server.heartbeats))
        assert world.server.pools["new"].pool.base_job_template["job_configuration"]

    play(story)


def test_no_more_runs_than_slots_and_the_next_starts_when_one_is_free() -> None:
    async def story(world: WorkerWorld) -> None:
        runs = [world.server.schedule(POOL) for _ in range(5)]
        most = 0
        await world.start(limit=2)
        while any(world.state(run) is not StateType.COMPLETED for run in runs):
            most = max(most, len(world.keeper.alive()))
            await asyncio.sleep(0.2)
        assert most == 2
        assert world.clock.monotonic() < 60  # freed slots are filled at once, not by the rhythm

    play(story)


def test_a_crash_is_reported_with_its_cause_and_last_words() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL)
        await world.start()
        await world.until(lambda: bool(world.keeper.alive()))
        process = world.keeper.alive()[0]
        world.journal.output[process.key] = ("Segmentation fault ahead",)
        process.end(-11)
        await world.until_state(run, StateType.CRASHED)
        message = world.server.run(run).state.message or ""
        assert "SIGSEGV" in message
        assert "Segmentation fault ahead" in message

    play(story)


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
        world.keeper.script = world.sleeper
        run = world.server.schedule(POOL)
        wiring = await world.start(limit=2)
        await world.until_state(run, StateType.RUNNING)
        service = wiring.directory.find(name)
        assert service is not None
        service.kill()
        await service.joined()
        other = world.server.schedule(POOL)
        await world.until_state(other, StateType.RUNNING)
        assert len(await world.in_hand()) == 2
        assert len(world.keeper.spawned) == 2
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)

    play(story)


def test_a_supervisor_that_fails_is_succeeded_and_its_run_accounted_for() -> None:
    async def story(world: WorkerWorld) -> None:
        world.keeper.script = world.sleeper
        run = world.server.schedule(POOL)
        wiring = await world.start(limit=1)
        await world.until_state(run, StateType.RUNNING)
        supervisor = wiring.directory.find(world.supervisors()[0])
        assert supervisor is not None
        supervisor.kill()
        await supervisor.joined()
        assert [s.holds_slot for s in await world.in_hand()] == [True]
        world.keeper.alive()[0].end(5)
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


def test_a_plain_command_with_report_states_is_a_full_run() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(
            POOL, job_variables={"command": "make report", "report_states": True}
        )
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        assert StateType.RUNNING in world.server.types_of(run)

    play(story)


def test_a_plain_command_that_reports_nothing_is_remarked_on() -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.schedule(POOL, job_variables={"command": "make report"})
        await world.start()
        await world.until(lambda: any("report_states" in li.message for li in world.server.logs))
        await world.until_settled()

    play(story)


def test_what_cannot_be_started_is_crashed_with_the_cause() -> None:
    async def story(world: WorkerWorld) -> None:
        world.keeper.refuse = lambda order: "No such command: frobnicate"
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.CRASHED)
        assert "frobnicate" in (world.server.run(run).state.message or "")
        broken = world.server.schedule(POOL, job_variables={"command": "echo 'unclosed"})
        await world.until_state(broken, StateType.CRASHED)
        assert "quot" in (world.server.run(broken).state.message or "").lower()

    play(story)


def test_worker_events_follow_one_another() -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.schedule(POOL, deployment_id=world.server.add_deployment(tags=("a",)))
        await world.start()
        await world.until(lambda: len(world.server.events) == 3)
        started, submitted, executed = world.server.events
        assert started.event == "prefect.worker.started"
        assert submitted.event == "prefect.worker.submitted-flow-run"
        assert executed.event == "prefect.worker.executed-flow-run"
        assert executed.follows == submitted.id
        assert any(r["prefect.resource.role"] == "tag" for r in executed.related)

    play(story)
