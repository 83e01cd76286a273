"""What the in-memory orchestrator offers to tests beside the port."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from actors.domain.errors import Unavailable
from actors.domain.ids import new_transition_id
from actors.domain.model import Accepted, Proposal, Rejected, StateType
from actors.testing.orchestrator import InMemoryOrchestrator
from tests.support.manual_clock import ManualClock


def a_claim() -> Proposal:
    return Proposal(type=StateType.PENDING, name="Pending", transition_id=new_transition_id())


def test_a_lost_request_has_no_effect_and_a_lost_answer_has() -> None:
    losing: list[Literal["before", "after"]] = ["before", "after"]

    async def lose(operation: str, phase: Literal["before", "after"]) -> None:
        if operation == "propose_state" and losing and losing[0] == phase:
            losing.pop(0)
            raise Unavailable(f"lost {phase}")

    async def main() -> None:
        server = InMemoryOrchestrator(ManualClock(), faults=lose)
        server.world.add_pool("p")
        run, proposal = server.world.schedule("p"), a_claim()
        with pytest.raises(Unavailable, match="before"):
            await server.propose_state(run, proposal)
        assert server.world.types_of(run) == [StateType.SCHEDULED]
        with pytest.raises(Unavailable, match="after"):
            await server.propose_state(run, proposal)
        assert server.world.types_of(run) == [StateType.SCHEDULED, StateType.PENDING]
        again = await server.propose_state(run, proposal)
        assert isinstance(again, Rejected)
        assert again.state.transition_id == proposal.transition_id

    asyncio.run(main())


def test_engines_and_users_act_on_runs_and_every_state_is_kept() -> None:
    world = InMemoryOrchestrator(ManualClock()).world
    world.add_pool("p")
    run = world.schedule("p", deployment_id=world.add_deployment())
    assert isinstance(world.propose(run, a_claim()), Accepted)
    world.set_state(run, StateType.RUNNING)
    world.cancel(run)
    world.set_state(run, StateType.CANCELLED, message="by the user")
    assert world.types_of(run) == [
        StateType.SCHEDULED,
        StateType.PENDING,
        StateType.RUNNING,
        StateType.CANCELLING,
        StateType.CANCELLED,
    ]
    assert world.run(run).state.message == "by the user"
    assert world.run(run).run.run_count == 1


def test_limits_of_pools_and_queues_hold_due_runs_back() -> None:
    async def main() -> None:
        clock = ManualClock()
        server = InMemoryOrchestrator(clock)
        server.world.add_pool("p", concurrency_limit=2)
        server.world.add_queue("p", "q", concurrency_limit=1)
        first = server.world.schedule("p", queue="q")
        for _ in range(3):
            server.world.schedule("p")
            server.world.schedule("p", queue="q")
        due = (await server.read_due_runs("p", [], before=clock.now())).runs
        assert due[0].id == first
        assert len(due) == 2
        server.world.set_state(first, StateType.PENDING)
        due = (await server.read_due_runs("p", [], before=clock.now())).runs
        assert len(due) == 1
        assert server.world.run(due[0].id).queue == "default"

    asyncio.run(main())


def test_a_run_without_a_slot_is_due_again_later() -> None:
    async def main() -> None:
        clock = ManualClock()
        server = InMemoryOrchestrator(clock)
        server.world.add_pool("p")
        deployment = server.world.add_deployment(concurrency_limit=1)
        first = server.world.schedule("p", deployment_id=deployment)
        second = server.world.schedule("p", deployment_id=deployment)
        server.world.propose(first, a_claim())
        server.world.propose(second, a_claim())
        assert (await server.read_due_runs("p", [], before=clock.now())).runs == ()
        due = await server.read_due_runs("p", [], before=clock.now() + timedelta(seconds=30))
        assert [(run.id, run.state.name) for run in due.runs] == [
            (second, "AwaitingConcurrencySlot")
        ]

    asyncio.run(main())


def test_deleting_a_deployment_deletes_its_scheduled_runs() -> None:
    world = InMemoryOrchestrator(ManualClock()).world
    world.add_pool("p")
    deployment = world.add_deployment()
    scheduled = world.schedule("p", deployment_id=deployment)
    running = world.schedule("p", deployment_id=deployment)
    world.set_state(running, StateType.RUNNING)
    world.delete_deployment(deployment)
    assert scheduled not in world.runs
    assert running in world.runs
