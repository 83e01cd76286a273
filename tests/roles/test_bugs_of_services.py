"""Errors that nobody expected in what the services ask for, on virtual time."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from actors.domain.errors import StateFolderError, Unavailable
from actors.domain.ids import ClaimKey, FlowRunId
from actors.domain.model import StateType
from actors.domain.record import RunRecord
from actors.testing.journal import MemoryJournal
from tests.roles.bugs import Bug
from tests.support.worker_world import POOL, WorkerWorld, play

SERVICES = pytest.mark.parametrize(
    ("operation", "event"),
    [
        ("read_due_runs", "poll.failed"),
        ("send_heartbeat", "pool.sync_failed"),
        ("read_cancelling_runs", "cancellations.unknown"),
    ],
)


def unexpected(logs: list[EventDict]) -> list[tuple[str, str, str]]:
    return [
        (line["log_level"], line["what"], type(line["exc_info"]).__name__)
        for line in logs
        if line["event"] == "run.unexpected_error"
    ]


async def an_hour_of(world: WorkerWorld, operation: str, error: type[Exception]) -> int:
    """How often it was tried."""
    tries = 0

    async def faults(done: str, when: str) -> None:
        nonlocal tries
        if (done, when) == (operation, "before"):
            tries += 1
            raise error(f"try {tries}" if error is Bug else "not now")

    world.orchestrator.faults = faults
    await world.start()
    await asyncio.sleep(3600.0)
    world.orchestrator.faults = None
    return tries


@SERVICES
def test_a_bug_is_said_once_with_its_traceback_and_the_rhythm_goes_on(
    operation: str, event: str
) -> None:
    async def story(world: WorkerWorld) -> None:
        assert await an_hour_of(world, operation, Bug) > 60
        await world.until_state(world.server.schedule(POOL), StateType.COMPLETED)

    with capture_logs() as logs:
        play(story)
    assert unexpected(logs) == [("error", event, "Bug")]


@SERVICES
def test_what_passes_is_no_bug(operation: str, event: str) -> None:
    async def story(world: WorkerWorld) -> None:
        await an_hour_of(world, operation, Unavailable)

    with capture_logs() as logs:
        play(story)
    assert not unexpected(logs)
    assert [line["log_level"] for line in logs if line["event"] == event] == ["warning"]


def test_a_pool_that_does_not_exist_and_a_service_that_is_restarted_are_no_bugs() -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start(pool="missing", create_pool_if_not_found=False)
        await asyncio.sleep(60.0)
        world.server.add_pool("missing")
        run = world.server.schedule("missing")
        await world.until_state(run, StateType.COMPLETED)
        world.actor("dispatcher").kill()
        await world.until_state(world.server.schedule("missing"), StateType.COMPLETED)

    with capture_logs() as logs:
        play(story)
    assert not unexpected(logs)


class UnreadableJournal(MemoryJournal):
    """Fails to read the record of ``run``, so often."""

    def __init__(self, error: type[Exception], times: int) -> None:
        super().__init__()
        self.run: FlowRunId | None = None
        self.error = error
        self.times = times

    async def record(self, key: ClaimKey) -> RunRecord | None:
        """See the port."""
        found = await super().record(key)
        if found is not None and found.run.id == self.run and self.times:
            self.times -= 1
            raise self.error("no")
        return found


async def with_a_failed_supervisor(world: WorkerWorld, journal: UnreadableJournal) -> FlowRunId:
    """The run whose supervisor has failed; its record cannot be read."""
    world.journal = journal
    world.keeper.script = world.sleeper
    run = world.server.schedule(POOL)
    wiring = await world.start()
    await world.until_state(run, StateType.RUNNING)
    journal.run = run
    [name] = world.supervisors()
    supervisor = wiring.directory.find(name)
    dispatcher = wiring.directory.find("dispatcher")
    assert supervisor is not None
    assert dispatcher is not None
    supervisor.kill()
    world.keeper.script = world.engine
    await world.until_state(world.server.schedule(POOL), StateType.COMPLETED)
    assert wiring.directory.find("dispatcher") is dispatcher
    return run


@pytest.mark.parametrize("error", [StateFolderError, Bug])
def test_a_record_that_cannot_be_read_is_read_again_and_costs_no_other_run(
    error: type[Exception],
) -> None:
    async def story(world: WorkerWorld) -> None:
        run = await with_a_failed_supervisor(world, UnreadableJournal(error, 5))
        await world.until(lambda: len(world.supervisors()) == 1)
        world.server.cancel(run)
        await world.until_state(run, StateType.CANCELLED)

    with capture_logs() as logs:
        play(story)
    said = [line for line in logs if line["event"] == "run.unread"]
    assert len(said) == (error is StateFolderError)
    assert len(unexpected(logs)) == (error is Bug)


def test_a_bug_that_stays_in_reading_the_record_ends_the_run_with_a_word() -> None:
    async def story(world: WorkerWorld) -> None:
        run = await with_a_failed_supervisor(world, UnreadableJournal(Bug, 10**6))
        await world.until_state(run, StateType.CRASHED)
        assert "Bug" in (world.server.run(run).state.message or "")
        await world.until(lambda: not world.keeper.alive())

    play(story)


def test_a_run_whose_supervisor_fails_while_its_record_is_closed_is_not_started_again() -> None:
    """A command that reported nothing is still Pending by our claim when it is over."""

    async def story(world: WorkerWorld) -> None:
        world.keeper.script = lambda process: process.end(0)
        run = world.server.schedule(POOL, job_variables={"command": "true"})
        closing, goes_on = asyncio.Event(), asyncio.Event()

        async def delay() -> None:
            await goes_on.wait()

        class SlowToClose(MemoryJournal):
            async def close(self, record: RunRecord) -> None:
                closing.set()
                self.delay = delay
                await super().close(record)

        world.journal = SlowToClose()
        await world.start()
        await closing.wait()
        [name] = world.supervisors()
        await world.fail(name)
        goes_on.set()
        world.keeper.script = world.engine
        await world.until_state(world.server.schedule(POOL), StateType.COMPLETED)
        await world.until_settled()
        assert await world.in_hand() == ()
        assert world.server.run(run).state.type is StateType.PENDING
        assert len(world.keeper.spawned) == 2

    play(story)
