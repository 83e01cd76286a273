"""Which pools a worker makes, takes and refuses, on virtual time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import SettingsError, Unavailable
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.job.configuration import default_base_job_template
from actors.testing.faults import Faults
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import WorkerWorld, play

NEW = "a pool that is not there yet"


def before_creation(act: object, *, phase: str = "before") -> tuple[Faults, list[str]]:
    """Have ``act`` done (or raised) at the first creation; and the operations so far."""
    operations: list[str] = []

    async def faults(operation: str, when: str) -> None:
        if when == "before":
            operations.append(operation)
        if (operation, when) == ("create_work_pool", phase) and operations.count(operation) == 1:
            if isinstance(act, Exception):
                raise act
            assert callable(act)
            act()

    return faults, operations


def test_whoever_was_faster_the_pool_is_served_with_its_own_template() -> None:
    """The server answers 409 to the one that comes second."""
    theirs = default_base_job_template()
    theirs["variables"]["properties"]["env"]["default"] = {"OF": "another hand"}

    environments: list[Mapping[str, str]] = []

    async def story(world: WorkerWorld) -> None:
        def script(process: ScriptedProcess) -> None:
            environments.append(process.order.env)
            world.engine(process)

        world.keeper.script = script
        world.orchestrator.faults, operations = before_creation(
            lambda: world.server.add_pool(NEW, base_job_template=theirs)
        )
        await world.start(pool=NEW)
        await world.until(lambda: bool(world.server.heartbeats))
        run = world.server.schedule(NEW)
        await world.until_state(run, StateType.COMPLETED)
        assert operations.count("create_work_pool") == 1
        assert world.server.pools[NEW].pool.base_job_template == theirs
        assert environments[0]["OF"] == "another hand"

    with capture_logs() as logs:
        play(story)
    assert not [line for line in logs if line["event"] in ("pool.created", "pool.sync_failed")]


def test_a_pool_that_the_other_hand_left_empty_is_filled() -> None:
    async def story(world: WorkerWorld) -> None:
        world.orchestrator.faults, _ = before_creation(lambda: world.server.add_pool(NEW))
        await world.start(pool=NEW)
        await world.until(lambda: bool(world.server.heartbeats))
        assert world.server.pools[NEW].pool.base_job_template == default_base_job_template()

    play(story)


def test_a_single_round_goes_on_when_another_hand_was_faster() -> None:
    async def story(world: WorkerWorld) -> None:
        def create() -> None:
            world.server.add_pool(NEW)
            runs.append(world.server.schedule(NEW))

        runs: list[FlowRunId] = []
        world.orchestrator.faults, _ = before_creation(create)
        wiring = await world.start(pool=NEW, run_once=True)
        await wiring.guardian.joined()
        assert wiring.guardian.failure is None
        assert world.state(runs[0]) is StateType.COMPLETED

    play(story)


def test_a_creation_whose_answer_was_lost_is_no_reason_to_give_up() -> None:
    async def story(world: WorkerWorld) -> None:
        world.orchestrator.faults, operations = before_creation(
            Unavailable("the connection broke"), phase="after"
        )
        await world.start(pool=NEW)
        await world.until(lambda: bool(world.server.heartbeats))
        assert operations.count("create_work_pool") == 1

    play(story)


@pytest.mark.parametrize("type_", ["modal:push", "prefect:managed"])
def test_a_pool_that_needs_no_worker_is_refused_in_words(type_: str) -> None:
    async def story(world: WorkerWorld) -> None:
        world.server.add_pool(NEW, type=type_)
        wiring = await world.start(pool=NEW)
        await wiring.guardian.joined()
        assert isinstance(wiring.guardian.failure, SettingsError)
        assert "needs no worker" in str(wiring.guardian.failure)

    play(story)
