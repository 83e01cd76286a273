"""Faults that the simulation found to cost something, each as a short story."""

from __future__ import annotations

import asyncio
import copy
from typing import Literal

from structlog.testing import capture_logs

from actors.domain.errors import Forbidden, InvalidRequest
from actors.domain.model import StateType
from actors.job.configuration import default_base_job_template
from actors.messages.dispatcher import DueRuns
from actors.messages.guardian import Deadline, Drain
from tests.support.worker_world import POOL, WorkerWorld, play

Phase = Literal["before", "after"]


def test_running_does_not_arrive_after_completed() -> None:
    """The answer to Running takes longer than the command: both would be under way at once."""

    async def story(world: WorkerWorld) -> None:
        slow = True

        async def faults(operation: str, phase: Phase) -> None:
            nonlocal slow
            if (
                operation == "propose_state"
                and phase == "before"
                and world.keeper.spawned
                and slow
            ):
                slow = False
                await asyncio.sleep(20.0)

        world.orchestrator.faults = faults
        variables = {"command": "make report", "report_states": True}
        run = world.server.schedule(POOL, job_variables=variables)
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        await world.until_settled()
        assert world.state(run) is StateType.COMPLETED

    play(story)


def test_an_end_that_somebody_set_meanwhile_is_not_overwritten() -> None:
    """The server would take Cancelled over Completed: only Crashed is refused there."""

    async def story(world: WorkerWorld) -> None:
        run, process = await world.start_running()
        process.ignores_signals = True
        world.server.cancel(run)
        await world.until(lambda: bool(process.signals))
        world.server.set_state(run, StateType.COMPLETED, force=True)
        await world.until_settled()
        assert world.state(run) is StateType.COMPLETED

    play(story)


def test_a_report_that_a_proxy_refuses_is_repeated() -> None:
    async def story(world: WorkerWorld) -> None:
        refusing = True

        async def faults(operation: str, phase: Phase) -> None:
            if operation == "propose_state" and refusing and world.keeper.spawned:
                raise InvalidRequest("maintenance", status=400)

        run, process = await world.start_running()
        world.orchestrator.faults = faults
        process.end(3)
        await asyncio.sleep(600.0)
        refusing = False
        await world.until_state(run, StateType.CRASHED)

    play(story)


def test_a_claim_that_was_taken_although_it_was_refused_is_not_left_pending() -> None:
    async def story(world: WorkerWorld) -> None:
        refusing = True

        async def faults(operation: str, phase: Phase) -> None:
            nonlocal refusing
            if operation == "propose_state" and phase == "after" and refusing:
                refusing = False
                raise InvalidRequest("a proxy found it wrong", status=400)

        world.orchestrator.faults = faults
        run = world.server.schedule(POOL)
        await world.start()
        await world.until_state(run, StateType.COMPLETED)
        assert len(world.keeper.spawned) == 1

    play(story)


def test_a_run_that_only_the_keeper_knows_is_adopted() -> None:
    async def story(world: WorkerWorld) -> None:
        run, _ = await world.start_running(limit=1)
        await world.kill()
        world.journal.records.clear()
        other = world.server.schedule(POOL)
        await world.start(limit=1)
        await asyncio.sleep(60.0)
        assert world.state(other) is StateType.SCHEDULED  # the slot is taken
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)

    play(story)


def test_two_runs_that_the_server_refuses_do_not_starve_a_third() -> None:
    async def story(world: WorkerWorld) -> None:
        never = world.server.add_deployment(concurrency_limit=0)
        for _ in range(3):
            world.server.schedule(POOL, deployment_id=never)
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.COMPLETED)
        assert world.clock.monotonic() < 120

    play(story)


def test_a_run_in_hand_that_is_rescheduled_does_not_starve_another() -> None:
    async def story(world: WorkerWorld) -> None:
        world.keeper.script = world.sleeper
        deployment = world.server.add_deployment()
        run = world.server.schedule(POOL, deployment_id=deployment)
        await world.start(limit=2)
        await world.until_state(run, StateType.RUNNING)
        world.server.set_state(run, StateType.FAILED, force=True)
        world.server.set_state(run, StateType.SCHEDULED, "AwaitingRetry")
        other = world.server.schedule(POOL)
        await world.until_state(other, StateType.RUNNING)

    play(story)


def test_a_late_list_of_due_runs_does_not_revive_what_was_settled_meanwhile() -> None:
    """The server would take Pending over Crashed."""

    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL, job_variables={"command": "echo 'unclosed"})
        listed = await world.orchestrator.read_due_runs(POOL, (), before=world.clock.now())
        wiring = await world.start()
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        pool = world.server.pools[POOL].pool
        late = DueRuns(runs=listed.runs, pool=pool, asked_at=0.0)
        wiring.directory.address("dispatcher").tell(late)
        await asyncio.sleep(60.0)
        assert world.server.types_of(run)[-1] is StateType.CRASHED
        assert world.server.types_of(run).count(StateType.PENDING) == 1

    play(story)


def test_a_foreign_run_that_somebody_else_cancelled_meanwhile_is_left_alone() -> None:
    async def story(world: WorkerWorld) -> None:
        async def faults(operation: str, phase: Phase) -> None:
            if operation == "read_deployment" and phase == "before":
                world.server.set_state(run, StateType.CANCELLED)

        run = world.server.schedule(POOL, deployment_id=world.server.add_deployment())
        for state in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING):
            world.server.set_state(run, state)
        world.orchestrator.faults = faults
        await world.start()
        await asyncio.sleep(60.0)
        assert world.server.types_of(run).count(StateType.CANCELLED) == 1

    play(story)


def test_a_dispatcher_that_is_restarted_while_draining_goes_on_draining() -> None:
    async def story(world: WorkerWorld) -> None:
        run = world.server.schedule(POOL)
        wiring = await world.start()
        await world.until_state(run, StateType.RUNNING)
        wiring.guardian.tell(Drain())
        await asyncio.sleep(1.0)
        world.actor("dispatcher").kill()
        await wiring.guardian.joined()
        assert world.state(run) is StateType.COMPLETED

    play(story)


def test_the_deadline_also_ends_a_run_between_two_supervisors() -> None:
    async def story(world: WorkerWorld) -> None:
        run, _ = await world.start_running()
        await world.fail(world.supervisors()[0])
        world.guardian.tell(Drain())
        world.guardian.tell(Deadline())
        await world.guardian.joined()
        assert world.state(run) is StateType.CRASHED

    play(story)


def test_a_template_that_was_changed_counts_for_the_next_run() -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start(heartbeat_seconds=3600.0)
        await world.until(lambda: bool(world.server.heartbeats))
        pool = world.server.pools[POOL].pool
        template = copy.deepcopy(dict(pool.base_job_template))
        template["job_configuration"]["command"] = "make all"
        await world.orchestrator.update_base_job_template(POOL, template)
        world.server.schedule(POOL)
        await world.until(lambda: bool(world.keeper.spawned))
        assert world.keeper.alive()[0].order.argv == ("make", "all")

    play(story)


def test_a_pool_that_comes_later_is_waited_for() -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start(pool="new", create_pool_if_not_found=False)
        await asyncio.sleep(600)
        world.server.add_pool("new", base_job_template=default_base_job_template())
        await world.until_state(world.server.schedule("new"), StateType.COMPLETED)

    with capture_logs() as logs:
        play(story)
    [said] = [line for line in logs if line["event"] == "pool.sync_failed"]
    assert "prefect work-pool create" in said["error"]


def test_a_proxy_that_forbids_to_create_the_pool_may_change_its_mind() -> None:
    async def story(world: WorkerWorld) -> None:
        refusals = 0

        async def faults(operation: str, phase: str) -> None:
            nonlocal refusals
            if operation == "create_work_pool" and refusals < 5:
                refusals += 1
                raise Forbidden("not from here", status=403)

        world.orchestrator.faults = faults
        await world.start(pool="new")
        await world.until(lambda: "new" in world.server.pools)
        assert refusals == 5

    play(story)
