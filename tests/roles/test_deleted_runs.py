"""Runs that are deleted at the server while they are in hand."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.domain.record import Reason
from tests.support.worker_world import POOL, WorkerWorld, play


async def a_running_run(world: WorkerWorld) -> FlowRunId:
    world.keeper.script = world.sleeper
    run = world.server.schedule(POOL)
    await world.start(limit=1)
    await world.until_state(run, StateType.RUNNING)
    return run


def test_its_process_is_ended_its_slot_is_free_and_nothing_is_reported() -> None:
    async def story(world: WorkerWorld) -> None:
        run = await a_running_run(world)
        world.server.delete_run(run)
        world.keeper.script = world.engine
        other = world.server.schedule(POOL)
        await world.until_state(other, StateType.COMPLETED)
        await world.until_settled()
        assert not world.keeper.alive()

    with capture_logs() as logs:
        play(story)
    reasons = [line["reason"] for line in logs if line["event"] == "run.settled"]
    assert reasons == [Reason.DELETED, Reason.EXITED]
    assert not [line for line in logs if line["log_level"] in ("warning", "error")]
    assert [line for line in logs if "was deleted: ending" in line.get("text", "")]


@pytest.mark.parametrize("code", [0, 1])
def test_a_process_that_ends_before_that_is_noticed_leaves_no_warning(code: int) -> None:
    async def story(world: WorkerWorld) -> None:
        run = await a_running_run(world)
        world.server.delete_run(run)
        world.keeper.alive()[0].end(code)
        await world.until_settled()

    with capture_logs() as logs:
        play(story)
    said = [line.get("text", "") for line in logs if line["log_level"] in ("warning", "error")]
    assert not [text for text in said if "did not take" in text]
    if code:
        assert [line for line in logs if "was deleted, so" in line.get("text", "")]


def test_a_worker_without_runs_does_not_ask() -> None:
    async def story(world: WorkerWorld) -> None:
        asked: list[str] = []

        async def faults(operation: str, when: str) -> None:
            asked.append(operation)

        world.orchestrator.faults = faults
        await world.start()
        await world.until(lambda: asked.count("read_due_runs") > 20)
        assert "missing_runs" not in asked

    play(story)
