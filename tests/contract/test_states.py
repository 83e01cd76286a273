"""What servers answer to the other proposed states, the real ones and ours."""

from __future__ import annotations

from uuid import uuid4

import pytest

from actors.domain.errors import NotFound
from actors.domain.ids import FlowRunId
from actors.domain.model import Aborted, Accepted, Rejected, StateType
from tests.contract.conftest import Ask
from tests.contract.proposing import (
    CANCELLED,
    CANCELLING,
    COMPLETED,
    CRASHED,
    FAILED,
    PENDING,
    RUNNING,
    SCHEDULED,
    a_proposal,
    a_run_in,
    propose,
)
from tests.contract.worlds import World


def test_a_run_that_does_not_exist_has_no_history(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        assert await world.orchestrator.read_history(FlowRunId(str(uuid4()))) == []

    ask(scenario)


@pytest.mark.parametrize("state", [PENDING, RUNNING])
def test_a_live_run_can_crash(ask: Ask, state: StateType) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, state)
        verdict = await propose(world, run, CRASHED, message="killed")
        assert isinstance(verdict, Accepted)
        assert (await world.orchestrator.read_flow_run(run)).state.message == "killed"

    ask(scenario)


def test_a_run_that_is_being_cancelled_cannot_crash(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, RUNNING, CANCELLING)
        verdict = await propose(world, run, CRASHED)
        assert isinstance(verdict, Rejected)
        assert verdict.state.type is CANCELLING
        assert "other than Cancelled" in verdict.reason

    ask(scenario)


def test_a_run_that_is_being_cancelled_becomes_cancelled_without_force(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, RUNNING, CANCELLING)
        assert isinstance(await propose(world, run, CANCELLED), Accepted)

    ask(scenario)


@pytest.mark.parametrize("state", [COMPLETED, FAILED, CANCELLED, CRASHED])
@pytest.mark.parametrize("proposed", [CRASHED, CANCELLING])
def test_a_run_that_is_over_neither_crashes_nor_is_cancelled(
    ask: Ask, state: StateType, proposed: StateType
) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, RUNNING, state)
        verdict = await propose(world, run, proposed)
        assert isinstance(verdict, Aborted)
        assert verdict.reason == f"Run is already in terminal state {state.value}."
        assert world.types_of(run)[-1] is state

    ask(scenario)


@pytest.mark.parametrize("state", [CANCELLING, CRASHED, COMPLETED])
def test_force_puts_any_state_in_place(ask: Ask, state: StateType) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, RUNNING, state)
        verdict = await propose(world, run, CANCELLED, force=True, message="done")
        assert isinstance(verdict, Accepted)
        assert (verdict.state.type, verdict.state.message) == (CANCELLED, "done")

    ask(scenario)


def test_a_forced_repeat_is_accepted_again(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, RUNNING)
        proposal = a_proposal(CRASHED, force=True)
        assert isinstance(await world.orchestrator.propose_state(run, proposal), Accepted)
        assert isinstance(await world.orchestrator.propose_state(run, proposal), Accepted)

    ask(scenario)


def test_a_scheduled_run_without_process_is_cancelled_at_once(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world)
        verdict = await propose(world, run, CANCELLING)
        assert isinstance(verdict, Rejected)
        assert verdict.state.type is CANCELLED
        assert verdict.reason == "Scheduled flow run has no infrastructure to terminate."
        assert world.types_of(run) == [SCHEDULED, CANCELLED]

    ask(scenario)


def test_a_scheduled_run_with_a_process_is_being_cancelled(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world)
        await world.orchestrator.set_infrastructure_pid(run, "host:1")
        assert isinstance(await propose(world, run, CANCELLING), Accepted)

    ask(scenario)


def test_a_deleted_run_is_not_found(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world)
        world.delete_run(run)
        with pytest.raises(NotFound):
            await propose(world, run, PENDING)
        with pytest.raises(NotFound):
            await world.orchestrator.read_flow_run(run)
        with pytest.raises(NotFound):
            await world.orchestrator.set_infrastructure_pid(run, "host:1")

    ask(scenario)
