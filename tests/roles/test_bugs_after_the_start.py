"""An error that nobody expected, once a run's process is there, on virtual time.

The run comes to an end that its user sees, the next one gets the slot, and the log has the
traceback.
"""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from actors.domain.model import StateType
from actors.domain.record import Phase, RunRecord
from actors.testing.journal import MemoryJournal
from tests.roles.bugs import Bug, Moment, fails, running, the_slot_is_free, types_of
from tests.support.worker_world import POOL, WorkerWorld, play


def test_an_end_that_cannot_be_reported_is_left_to_the_next_worker() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        world.orchestrator.faults = fails("propose_state")
        process.end(3)
        await world.until_settled()
        assert world.state(run) is StateType.RUNNING
        await the_slot_is_free(world)
        await world.stop()
        await world.start()
        await world.until_state(run, StateType.CRASHED)
        assert "code 3" in (world.server.run(run).state.message or "")

    with capture_logs() as logs:
        play(story)
    assert [line for line in logs if line["event"] == "run.abandoned"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_end_that_is_reported_at_the_second_try(moment: Moment) -> None:
    async def story(world: WorkerWorld) -> None:
        tries = 0

        async def faults(done: str, when: Moment) -> None:
            nonlocal tries
            if (done, when) == ("propose_state", moment):
                tries += 1
                if tries == 1:
                    raise Bug

        run, process = await running(world)
        world.orchestrator.faults = faults
        process.end(3)
        await world.until_settled()
        assert types_of(world, run)[-1] is StateType.CRASHED
        assert not world.journal.unsettled

    play(story)


@pytest.mark.parametrize("operation", ["set_infrastructure_pid", "add_labels", "send_logs"])
def test_what_a_run_can_do_without_costs_it_nothing(operation: str) -> None:
    async def story(world: WorkerWorld) -> None:
        world.orchestrator.faults = fails(operation)
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.COMPLETED)
        await the_slot_is_free(world)
        await world.until_settled()
        assert not world.journal.unsettled

    play(story)


def test_a_run_that_the_keeper_does_not_forget_is_settled() -> None:
    async def story(world: WorkerWorld) -> None:
        world.launcher.faults = fails("forget")
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.COMPLETED)
        await world.until_settled()
        await the_slot_is_free(world)

    play(story)


def test_a_state_that_cannot_be_read_after_a_clean_exit_holds_nothing_up() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        world.orchestrator.faults = fails("read_flow_run")
        world.server.set_state(run, StateType.COMPLETED)
        process.end(0)
        await world.until_settled()
        assert not world.journal.unsettled
        await the_slot_is_free(world)

    play(story)


def test_a_run_that_cannot_be_found_again_is_ended_after_ten_supervisors() -> None:
    """Its user is told why, its processes get the signal, and the slot is free."""

    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        world.launcher.faults = fails("watch")
        [name] = world.supervisors()
        world.actor(name).kill()
        await world.until_state(run, StateType.CRASHED)
        message = world.server.run(run).state.message or ""
        assert "could not watch over it" in message
        assert "Bug" in message
        assert process.signals == [15]
        assert process.exit is not None
        await the_slot_is_free(world)
        await world.until_settled()
        assert not world.journal.unsettled
        assert not world.keeper.alive()

    with capture_logs() as logs:
        play(story)
    assert len([line for line in logs if line["event"] == "supervisor.failed"]) == 10
    assert [line for line in logs if line["event"] == "run.given_up"]


def test_a_run_is_cancelled_although_the_keeper_cannot_be_told_to_end_it_at_first() -> None:
    async def story(world: WorkerWorld) -> None:
        run, _ = await running(world)
        tries = 0

        async def faults(done: str, when: Moment) -> None:
            nonlocal tries
            if (done, when) == ("end_tree", "before"):
                tries += 1
                if tries <= 3:
                    raise Bug

        world.launcher.faults = faults
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)
        assert StateType.CRASHED not in types_of(world, run)
        await the_slot_is_free(world)

    play(story)


def test_what_can_never_be_ended_is_said_and_left_to_the_next_worker() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        world.launcher.faults = fails("end_tree")
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)
        await world.until_settled()
        assert process.exit is None
        assert world.journal.unsettled
        await the_slot_is_free(world)
        await world.stop()
        await world.start()
        await world.until(lambda: process.exit is not None)
        await world.until_settled()
        assert not world.journal.unsettled

    play(story)


class FailingJournal(MemoryJournal):
    """A bug in handling: what is running cannot be noted."""

    async def save(self, record: RunRecord) -> None:
        if record.phase is Phase.RUNNING:
            raise Bug
        await super().save(record)


def test_a_bug_in_its_own_handling_ends_a_run_after_ten_supervisors() -> None:
    async def story(world: WorkerWorld) -> None:
        world.journal = FailingJournal()
        world.keeper.script = world.sleeper
        run = world.server.schedule(POOL)
        await world.start(limit=1)
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        assert not world.keeper.alive()
        assert len(world.keeper.spawned) == 1
        world.journal = MemoryJournal()

    play(story)


class NeverSaves(MemoryJournal):
    """From some time on a record cannot be written, for no reason that anybody has thought of."""

    broken = False

    async def save(self, record: RunRecord) -> None:
        if self.broken:
            raise Bug
        await super().save(record)


def test_a_run_that_cannot_even_be_ended_gives_its_slot_back() -> None:
    async def story(world: WorkerWorld) -> None:
        world.journal = journal = NeverSaves()
        _, process = await running(world)
        journal.broken = True
        process.end(1)
        await world.until(lambda: not world.supervisors())
        await world.until_settled()
        await asyncio.sleep(300.0)
        journal.broken = False
        await the_slot_is_free(world)

    with capture_logs() as logs:
        play(story)
    assert [line for line in logs if line["event"] == "run.abandoned"]
