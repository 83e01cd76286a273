"""The closed list of reasons: log, event and state message of every kind of end, virtually."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import pytest
from structlog.testing import capture_logs

from actors.domain.model import StateType
from actors.domain.record import MEBIBYTE, Reason
from actors.messages.guardian import Deadline
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import POOL, WorkerWorld, play

Act = Callable[[WorkerWorld, ScriptedProcess], Awaitable[None]]


async def exits(world: WorkerWorld, process: ScriptedProcess) -> None:
    process.end(0)


async def fails(world: WorkerWorld, process: ScriptedProcess) -> None:
    process.end(3)


async def is_cancelled(world: WorkerWorld, process: ScriptedProcess) -> None:
    world.server.cancel(next(iter(world.server.runs)))


async def lasts_too_long(world: WorkerWorld, process: ScriptedProcess) -> None:
    """As its job says."""


async def holds_too_much(world: WorkerWorld, process: ScriptedProcess) -> None:
    world.measure.runs[process.key] = 10 * MEBIBYTE


async def meets_the_kernel(world: WorkerWorld, process: ScriptedProcess) -> None:
    world.measure.kernel_kills[process.identity.pid] += 1
    process.end(-9)


async def meets_a_deadline(world: WorkerWorld, process: ScriptedProcess) -> None:
    assert world.wiring is not None
    world.wiring.guardian.tell(Deadline())
    await world.wiring.guardian.joined()


async def meets_a_reboot(world: WorkerWorld, process: ScriptedProcess) -> None:
    await world.kill()
    world.keeper.reboot()
    await world.start()


async def loses_its_keeper(world: WorkerWorld, process: ScriptedProcess) -> None:
    world.keeper.succeed()
    process.end(0)


ENDS: Final[dict[Reason, tuple[Act, str]]] = {
    Reason.EXITED: (exits, ""),
    Reason.FAILED: (fails, "exited with code 3"),
    Reason.CANCELLED: (is_cancelled, ""),
    Reason.TIMED_OUT: (lasts_too_long, "lasted longer than 1000 s"),
    Reason.OUT_OF_MEMORY_LIMIT: (holds_too_much, "more memory than 5 MB"),
    Reason.OUT_OF_MEMORY_KERNEL: (meets_the_kernel, "memory had run out"),
    Reason.WORKER_STOPPED: (meets_a_deadline, "worker was stopped"),
    Reason.MACHINE_RESTARTED: (meets_a_reboot, "was restarted"),
    Reason.LOST: (loses_its_keeper, "nobody was there to receive its exit code"),
}
"""How each comes about, and words of the state's message."""


@pytest.mark.parametrize("reason", ENDS)
def test_every_end_has_its_reason_in_log_event_and_message(reason: Reason) -> None:
    act, words = ENDS[reason]
    limits = {"timeout_seconds": 1000, "memory_limit_mb": 5}

    async def story(world: WorkerWorld) -> None:
        run, process = await world.start_running(job_variables=limits)
        if act is exits:
            world.server.set_state(run, StateType.COMPLETED)
        await act(world, process)
        await world.until(lambda: any(line["event"] == "run.settled" for line in logs))
        [executed] = [e for e in world.server.events if "executed" in e.event]
        assert executed.payload == {"reason": reason.value}
        assert words in (world.server.run(run).state.message or "")

    with capture_logs() as logs:
        play(story)
    [settled] = [line for line in logs if line["event"] == "run.settled"]
    assert settled["reason"] == reason.value


def test_what_could_not_be_started_has_its_reason_and_no_end() -> None:
    async def story(world: WorkerWorld) -> None:
        world.keeper.refuse = lambda order: "there is no such command"
        run = world.server.schedule(POOL)
        await world.start()
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        assert "could not be started" in (world.server.run(run).state.message or "")
        assert not [e for e in world.server.events if "executed" in e.event]

    with capture_logs() as logs:
        play(story)
    [settled] = [line for line in logs if line["event"] == "run.settled"]
    assert settled["reason"] == Reason.COULD_NOT_START.value
    assert settled["log_level"] == logging.getLevelName(logging.INFO).lower()


def test_no_reason_is_forgotten_here() -> None:
    """A worker that fails is in test_bugs_after_the_start.py, what is deleted in its own file."""
    elsewhere = {Reason.COULD_NOT_START, Reason.WORKER_FAILED, Reason.DELETED}
    assert set(Reason) == {*ENDS, *elsewhere}


def test_a_process_that_is_over_before_its_spawn_is_answered_was_running_first() -> None:
    """The scripted keeper tells the exit of such a process before it answers."""

    async def story(world: WorkerWorld) -> None:
        world.keeper.script = lambda process: process.end(3)
        run = world.server.schedule(POOL)
        await world.start()
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        assert world.server.run(run).run.infrastructure_pid is not None

    with capture_logs() as logs:
        play(story)
    texts = [str(line.get("text")) for line in logs if line["event"] == "run.remark"]
    assert not [text for text in texts if "None" in text]
    assert [text for text in texts if text.endswith("started.")]
