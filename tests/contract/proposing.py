"""Runs in a certain state, and proposals of another one."""

from __future__ import annotations

from typing import Any

from actors.domain.ids import FlowRunId, new_transition_id
from actors.domain.model import Proposal, StateType, Verdict
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
