"""Each operation of the client, asked of a server that answers as the test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from actors.domain.ids import DeploymentId, FlowId, FlowRunId, TransitionId
from actors.domain.model import Proposal, StateType
from actors.prefect_api.client import PrefectApi
from actors.prefect_api.http.session import Session
from tests.support.http_server import Script, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import run


def uuid(number: int) -> str:
    return str(UUID(int=number))


RUN = FlowRunId(uuid(1))

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

PROPOSAL = Proposal(
    type=StateType.CRASHED,
    name="Crashed",
    transition_id=TransitionId("t"),
    message="a\x00b",
    details={"scheduled_time": "x", "transition_id": "older"},
)

A_RUN: dict[str, Any] = {"id": uuid(2), "flow_id": uuid(3), "state_type": "SCHEDULED"}

Operation = Callable[[PrefectApi], Awaitable[Any]]

READS: dict[str, Operation] = {
    "pool": lambda api: api.read_work_pool("p"),
    "new pool": lambda api: api.create_work_pool("p", "process", None),
    "queues": lambda api: api.read_work_queues("p", []),
    "due runs": lambda api: api.read_due_runs("p", [], before=NOON),
    "scheduled runs": lambda api: api.read_scheduled_runs("p", "q", before=NOON),
    "cancelling runs": lambda api: api.read_cancelling_runs("p", [], excluding=[]),
    "run": lambda api: api.read_flow_run(RUN),
    "deployment": lambda api: api.read_deployment(DeploymentId(uuid(4))),
    "flow": lambda api: api.read_flow(FlowId(uuid(3))),
    "state": lambda api: api.propose_state(RUN, PROPOSAL),
    "block": lambda api: api.read_block_by_name("secret", "b"),
    "variable": lambda api: api.read_variable("v"),
}


def ask(operation: Operation, *replies: Script, default: Script | None = None) -> Any:
    """The operation's result, and the requests that were made for it."""
    server = ScriptedServer(default=default)
    server.script(*replies)

    async def scenario(session: Session, clock: ManualClock) -> Any:
        return await operation(PrefectApi(session))

    return run(server, scenario), server.received
