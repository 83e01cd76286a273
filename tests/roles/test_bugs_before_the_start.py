"""An error that nobody expected, before a run's process is there, on virtual time.

The run comes to an end that its user sees, or goes on, and the next one gets the slot.
"""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from actors.domain.errors import InvalidRequest
from actors.domain.model import StateType
from tests.roles.bugs import Bug, Moment, fails, logged, the_slot_is_free
from tests.support.worker_world import POOL, WorkerWorld, play


def test_a_recursion_error_in_preparing_crashes_the_run_and_the_next_one_starts() -> None:
    async def story(world: WorkerWorld) -> None:
        world.orchestrator.faults = fails("read_flow", error=RecursionError)
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.CRASHED)
        assert "RecursionError" in (world.server.run(run).state.message or "")
        assert "traceback" in (world.server.run(run).state.message or "")
        assert "secret" not in (world.server.run(run).state.message or "")
        await the_slot_is_free(world)

    with capture_logs() as logs:
        play(story)
    assert logged(logs) == ["RecursionError"]


def test_a_claim_that_the_server_has_taken_is_ours() -> None:
    async def story(world: WorkerWorld) -> None:
        claims = 0

        async def faults(done: str, when: Moment) -> None:
            nonlocal claims
            if (done, when) == ("propose_state", "after"):
                claims += 1
                if claims == 1:
                    raise Bug

        world.orchestrator.faults = faults
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.COMPLETED)
        names = [state.name for state in world.server.history_of(run)]
        assert names.count("Pending") == 1
        await the_slot_is_free(world)

    play(story)


def test_a_claim_that_was_not_made_is_left_to_others() -> None:
    async def story(world: WorkerWorld) -> None:
        world.orchestrator.faults = fails("propose_state")
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await asyncio.sleep(3.0)
        assert not world.supervisors()
        assert world.state(run) is StateType.SCHEDULED
        await the_slot_is_free(world)

    play(story)


def test_a_claim_of_which_nothing_can_be_found_out_is_left_to_the_next_worker() -> None:
    async def story(world: WorkerWorld) -> None:
        async def faults(done: str, when: Moment) -> None:
            if (done, when) in (("propose_state", "after"), ("read_flow_run", "before")):
                raise Bug

        world.orchestrator.faults = faults
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until(lambda: not world.supervisors() and bool(world.journal.records))
        assert world.state(run) is StateType.PENDING
        await the_slot_is_free(world)
        await world.stop()
        await world.start()
        await world.until_state(run, StateType.COMPLETED)

    with capture_logs() as logs:
        play(story)
    assert [line for line in logs if line["event"] == "run.abandoned"]


def test_what_was_not_started_is_a_crash() -> None:
    async def story(world: WorkerWorld) -> None:
        world.launcher.faults = fails("spawn")
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.CRASHED)
        assert "could not be started" in (world.server.run(run).state.message or "")
        await the_slot_is_free(world)

    play(story)


def test_what_was_started_all_the_same_goes_on() -> None:
    async def story(world: WorkerWorld) -> None:
        world.launcher.faults = fails("spawn", "after")
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.COMPLETED)
        assert len(world.keeper.spawned) == 1
        await the_slot_is_free(world)

    play(story)


def test_a_run_whose_history_cannot_be_read_is_a_crash() -> None:
    async def story(world: WorkerWorld) -> None:
        async def faults(done: str, when: Moment) -> None:
            is_claim = (done, when) == ("propose_state", "before")
            if is_claim and world.state(run) is StateType.SCHEDULED:
                world.server.set_state(run, StateType.COMPLETED)
            if done == "read_history":
                raise Bug

        world.orchestrator.faults = faults
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.CRASHED)
        await the_slot_is_free(world)

    play(story)


def test_a_history_that_a_proxy_refuses_is_read_again() -> None:
    """Another worker's end, which our late claim has overwritten, is put back all the same."""

    async def story(world: WorkerWorld) -> None:
        refusals = iter([InvalidRequest("a proxy found it wrong", status=422)])
        read_again = asyncio.Event()

        async def faults(done: str, when: Moment) -> None:
            is_claim = (done, when) == ("propose_state", "before")
            if is_claim and world.state(run) is StateType.SCHEDULED:
                world.server.set_state(run, StateType.FAILED)
            if (done, when) == ("read_history", "before"):
                for refusal in refusals:
                    raise refusal
                read_again.set()

        world.orchestrator.faults = faults
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await read_again.wait()
        await world.until_state(run, StateType.FAILED)
        await the_slot_is_free(world)

    play(story)
