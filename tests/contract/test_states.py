"""What servers answer to proposed states, the real ones and ours."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from actors.domain.errors import NotFound
from actors.domain.ids import FlowRunId, new_transition_id
from actors.domain.model import (
    Aborted,
    Accepted,
    Proposal,
    Rejected,
    StateType,
    Verdict,
    Wait,
)
from tests.contract.conftest import Ask
from tests.contract.worlds import World

PENDING, RUNNING, CRASHED = StateType.PENDING, StateType.RUNNING, StateType.CRASHED
CANCELLING, CANCELLED = StateType.CANCELLING, StateType.CANCELLED
SCHEDULED, FAILED, COMPLETED = StateType.SCHEDULED, StateType.FAILED, StateType.COMPLETED


def a_proposal(type: StateType, name: str | None = None, **fields: Any) -> Proposal:
    return Proposal(
        type=type, name=name or type.capitalize(), transition_id=new_transition_id(), **fields
    )


async def propose(
    world: World, run: FlowRunId, type: StateType, name: str | None = None, **fields: Any
) -> Verdict:
    return await world.orchestrator.propose_state(run, a_proposal(type, name, **fields))


def a_run_in(world: World, *states: StateType) -> FlowRunId:
    run = world.schedule(world.deploy())
    for state in states:
        world.set_state(run, state)
    return run


def test_a_scheduled_run_becomes_pending(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world)
        verdict = await propose(world, run, PENDING, message="taken")
        assert isinstance(verdict, Accepted)
        assert (verdict.state.type, verdict.state.name) == (PENDING, "Pending")
        assert verdict.state.message == "taken"
        assert verdict.state.id is not None
        assert verdict.state.details["scheduled_time"] is not None
        assert world.types_of(run) == [SCHEDULED, PENDING]

    ask(scenario)


@pytest.mark.parametrize("end", [COMPLETED, FAILED, CRASHED])
def test_pending_is_accepted_over_an_end_and_shows_it_by_having_no_time(
    ask: Ask, end: StateType
) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, PENDING, RUNNING, end)
        verdict = await propose(world, run, PENDING)
        assert isinstance(verdict, Accepted)
        assert verdict.state.details.get("scheduled_time") is None
        back = await propose(world, run, end)
        assert isinstance(back, Accepted)
        history = await world.orchestrator.read_history(run)
        assert [state.type for state in history] == [
            SCHEDULED,
            PENDING,
            RUNNING,
            end,
            PENDING,
            end,
        ]
        assert history[-1].transition_id == back.state.transition_id

    ask(scenario)


def test_a_run_that_does_not_exist_has_no_history(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        assert await world.orchestrator.read_history(FlowRunId(str(uuid4()))) == []

    ask(scenario)


def test_a_repeated_transition_is_rejected_with_the_state_it_made(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world)
        proposal = a_proposal(PENDING)
        first = await world.orchestrator.propose_state(run, proposal)
        again = await world.orchestrator.propose_state(run, proposal)
        assert isinstance(first, Accepted)
        assert isinstance(again, Rejected)
        assert again.reason == "This run has already made this state transition."
        assert again.state.id == first.state.id
        assert again.state.transition_id == proposal.transition_id
        assert world.types_of(run) == [SCHEDULED, PENDING]

    ask(scenario)


@pytest.mark.parametrize("state", [PENDING, RUNNING])
def test_a_run_that_somebody_has_cannot_be_claimed(ask: Ask, state: StateType) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, state)
        verdict = await propose(world, run, PENDING)
        assert isinstance(verdict, Aborted)
        assert verdict.reason == (
            f"This run is in a {state.value} state and cannot transition to a PENDING state."
        )
        assert verdict.state is not None
        assert verdict.state.type is state

    ask(scenario)


@pytest.mark.parametrize("state", [CANCELLING, CANCELLED])
def test_a_cancelled_run_cannot_be_claimed(ask: Ask, state: StateType) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, RUNNING, state)
        verdict = await propose(world, run, PENDING)
        assert isinstance(verdict, Aborted | Rejected)
        assert isinstance(verdict, Aborted) is (state is CANCELLED and world.version >= (3, 2))
        assert verdict.state is not None
        assert verdict.state.type is state
        assert world.types_of(run)[-1] is state

    ask(scenario)


def test_a_pending_run_may_be_renamed_on_newer_servers_only(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world)
        await propose(world, run, PENDING)
        verdict = await propose(world, run, PENDING, "Submitting")
        assert isinstance(verdict, Accepted) is (world.version >= (3, 7))
        assert isinstance(verdict, Aborted) is (world.version < (3, 7))

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


def test_a_run_that_is_early_has_to_wait(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = world.schedule(world.deploy(), seconds_ahead=3600)
        assert isinstance(await propose(world, run, PENDING), Accepted)
        verdict = await propose(world, run, RUNNING)
        assert isinstance(verdict, Wait)
        assert 3500 < verdict.delay_seconds <= 3600
        assert verdict.reason == "Scheduled time is in the future"

    ask(scenario)


def test_a_pending_run_can_be_handed_back(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = a_run_in(world, PENDING)
        details = {"scheduled_time": "2026-01-01T00:00:00Z"}
        verdict = await propose(world, run, SCHEDULED, "AwaitingRetry", details=details)
        assert isinstance(verdict, Accepted)
        assert (await world.orchestrator.read_flow_run(run)).state.name == "AwaitingRetry"

    ask(scenario)


def test_a_full_deployment_enqueues(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        deployment = world.deploy(limit=1)
        first, second = world.schedule(deployment), world.schedule(deployment)
        assert isinstance(await propose(world, first, PENDING), Accepted)
        verdict = await propose(world, second, PENDING)
        if world.version < (3, 0, 4):
            assert isinstance(verdict, Accepted)
            return
        assert isinstance(verdict, Rejected)
        assert (verdict.state.type, verdict.state.name) == (SCHEDULED, "AwaitingConcurrencySlot")
        assert verdict.reason == "Deployment concurrency limit reached."
        assert (await world.orchestrator.read_flow_run(second)).due is not None

    ask(scenario)


def test_a_full_deployment_cancels_new_runs_when_told_to(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        deployment = world.deploy(limit=1, on_full="CANCEL_NEW")
        first, second = world.schedule(deployment), world.schedule(deployment)
        assert isinstance(await propose(world, first, PENDING), Accepted)
        verdict = await propose(world, second, PENDING)
        if world.version >= (3, 0, 4):
            assert isinstance(verdict, Rejected)
            assert verdict.state.type is CANCELLED
            assert verdict.state.message == "Deployment concurrency limit reached."

    ask(scenario)


@pytest.mark.parametrize("leaving", [CRASHED, CANCELLED, COMPLETED])
def test_a_run_that_is_over_frees_its_slot(ask: Ask, leaving: StateType) -> None:
    async def scenario(world: World) -> None:
        deployment = world.deploy(limit=1)
        first, second = world.schedule(deployment), world.schedule(deployment)
        assert isinstance(await propose(world, first, PENDING), Accepted)
        assert isinstance(await propose(world, first, RUNNING), Accepted)
        assert isinstance(await propose(world, first, leaving), Accepted)
        assert isinstance(await propose(world, second, PENDING), Accepted)

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
