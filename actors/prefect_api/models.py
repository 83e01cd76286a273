"""What a Prefect server sends, read leniently, and what it means in our terms.

Servers from 3.0 to 3.8 name the same things; older ones leave some out and any of them may be
null. So unknown keys are dropped, a null counts as absent, and only what the worker cannot do
without is required (contract sections 4 to 6, 8).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..domain.ids import DeploymentId, FlowId, FlowRunId
from ..domain.model import (
    Aborted,
    Accepted,
    Deployment,
    Flow,
    FlowRun,
    Json,
    Rejected,
    State,
    StateType,
    Verdict,
    Wait,
    WorkPool,
    WorkQueue,
)


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first hours of the year 1, the last ones of 9999
        raise ValueError("this moment is in no year of UTC") from None


def _uuid(text: str) -> str:
    """The id as it is usually written. ValueError: it is none.

    Ids name folders, environment variables and addresses, so nothing else may come in.
    """
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("an id is a UUID") from None


Moment = Annotated[datetime, AfterValidator(_in_utc)]
Id = Annotated[str, AfterValidator(_uuid)]
Object = dict[str, Json]


class Wire(BaseModel):
    """A JSON object of the server."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class WirePool(Wire):
    """``GET /work_pools/{name}``."""

    id: str
    name: str
    type: str
    base_job_template: Object = Field(default_factory=dict)
    is_paused: bool = False
    concurrency_limit: int | None = None

    def pool(self) -> WorkPool:
        """As a domain object."""
        return WorkPool(
            id=self.id,
            name=self.name,
            type=self.type,
            base_job_template=self.base_job_template,
            is_paused=self.is_paused,
            concurrency_limit=self.concurrency_limit,
        )


class WireQueue(Wire):
    """One of ``POST /work_pools/{name}/queues/filter``."""

    name: str
    is_paused: bool = False
    concurrency_limit: int | None = None

    def queue(self) -> WorkQueue:
        """As a domain object."""
        return WorkQueue(
            name=self.name, is_paused=self.is_paused, concurrency_limit=self.concurrency_limit
        )


class WireState(Wire):
    """A flow run's state."""

    type: StateType
    name: str | None = None
    message: str | None = None
    id: str | None = None
    state_details: Object = Field(default_factory=dict)
    data: Json = None

    def state(self) -> State:
        """As a domain object."""
        return State(
            type=self.type,
            name=self.name or self.type.capitalize(),
            message=self.message,
            id=self.id,
            details=self.state_details,
            data=self.data,
        )


class WireRun(Wire):
    """A flow run; from a poll ``state`` is null, so type and name stand beside it.

    What the worker itself does not use is kept: templates may name it.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    id: Id
    name: str = ""
    flow_id: Id
    state: WireState | None = None
    state_type: StateType | None = None
    state_name: str | None = None
    deployment_id: Id | None = None
    next_scheduled_start_time: Moment | None = None
    expected_start_time: Moment | None = None
    run_count: int = 0
    job_variables: Object = Field(default_factory=dict)
    parameters: Object = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    infrastructure_pid: str | None = None
    work_queue_name: str | None = None

    def run(self) -> FlowRun:
        """As a domain object; ValueError when it has no state at all."""
        deployment = self.deployment_id
        return FlowRun(
            id=FlowRunId(self.id),
            name=self.name,
            flow_id=FlowId(self.flow_id),
            state=self._state(),
            deployment_id=None if deployment is None else DeploymentId(deployment),
            due=self.next_scheduled_start_time or self.expected_start_time,
            run_count=self.run_count,
            job_variables=self.job_variables,
            parameters=self.parameters,
            tags=tuple(self.tags),
            infrastructure_pid=self.infrastructure_pid,
            work_queue_name=self.work_queue_name,
            others=self.model_extra or {},
        )

    def _state(self) -> State:
        if self.state is not None:
            return self.state.state()
        if self.state_type is None:
            raise ValueError(f"flow run {self.id} has no state")
        return State(type=self.state_type, name=self.state_name or self.state_type.capitalize())


class WireDueRun(Wire):
    """One of ``POST /work_pools/{name}/get_scheduled_flow_runs``."""

    flow_run: WireRun

    def run(self) -> FlowRun:
        """As a domain object."""
        return self.flow_run.run()


def retries_in_process(run: FlowRun) -> bool:
    """Whether a process that is alive waits to retry the run: polls leave such runs out."""
    policy = run.others.get("empirical_policy")
    return isinstance(policy, dict) and policy.get("retry_type") == "in_process"


class WireDeployment(Wire):
    """``GET /deployments/{id}``."""

    id: Id
    name: str = ""
    flow_id: Id | None = None
    job_variables: Object = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    storage_document_id: str | None = None

    def deployment(self) -> Deployment:
        """As a domain object."""
        return Deployment(
            id=DeploymentId(self.id),
            name=self.name,
            flow_id=None if self.flow_id is None else FlowId(self.flow_id),
            job_variables=self.job_variables,
            tags=tuple(self.tags),
            storage_document_id=self.storage_document_id,
        )


class WireFlow(Wire):
    """``GET /flows/{id}``."""

    id: Id
    name: str
    tags: list[str] = Field(default_factory=list)

    def flow(self) -> Flow:
        """As a domain object."""
        return Flow(id=FlowId(self.id), name=self.name, tags=tuple(self.tags))


class WireBlock(Wire):
    """A block document."""

    data: Object


class WireVerdictDetails(Wire):
    """Why, and for how long."""

    reason: str = ""
    delay_seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


class WireVerdict(Wire):
    """The answer to ``POST /flow_runs/{id}/set_state``; only ``status`` is the verdict."""

    status: str
    state: WireState | None = None
    details: WireVerdictDetails = Field(default_factory=WireVerdictDetails)

    def verdict(self) -> Verdict:
        """As a domain object; ValueError when it is none of the four or lacks its state."""
        reason = self.details.reason
        match self.status, self.state:
            case "ACCEPT", WireState() as state:
                return Accepted(state=state.state())
            case "REJECT", WireState() as state:
                return Rejected(state=state.state(), reason=reason)
            case "ABORT", state:
                return Aborted(state=None if state is None else state.state(), reason=reason)
            case "WAIT", _:
                return Wait(delay_seconds=self.details.delay_seconds, reason=reason)
        raise ValueError(f"no verdict: {self.status!r} without what belongs to it")
