"""What servers answer to a claim, the real ones and ours: who gets a run, and when."""

from __future__ import annotations

import asyncio

import pytest

from actors.domain.model import Aborted, Accepted, Rejected, StateType, Wait
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


def test_of_many_claims_of_one_run_one_wins(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = world.schedule(world.deploy())
        verdicts = await asyncio.gather(*(propose(world, run, PENDING) for _ in range(8)))
        assert sum(isinstance(verdict, Accepted) for verdict in verdicts) == 1

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
