"""Small objects of the domain for tests, each complete."""

from __future__ import annotations

from typing import Any

from actors.domain.ids import ClaimKey, DeploymentId, FlowId, FlowRunId
from actors.domain.model import Deployment, Flow, FlowRun, State, StateType, WorkPool

FLOW = Flow(id=FlowId("flow-id"), name="hello", tags=("gamma",))
DEPLOYMENT = Deployment(id=DeploymentId("deployment-id"), name="d-run", tags=("beta", "alpha"))
POOL = WorkPool(id="pool-id", name="cap-pool", type="process", base_job_template={})


def a_run(id: str = "run-id", **changes: Any) -> FlowRun:
    fields: dict[str, Any] = {
        "id": FlowRunId(id),
        "name": "spirited-cuckoo",
        "flow_id": FLOW.id,
        "state": State(type=StateType.SCHEDULED, name="Scheduled"),
        "deployment_id": DEPLOYMENT.id,
        "tags": ("alpha", "gamma"),
    }
    return FlowRun(**(fields | changes))


def flow_run_id_of(key: ClaimKey) -> FlowRunId:
    return FlowRunId(key.partition(".")[0])
