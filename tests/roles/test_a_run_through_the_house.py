"""The actors together, on virtual time: what an operator expects of a worker."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs
from structlog.typing import EventDict

from actors.domain.model import StateType
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
