"""What a Prefect server sends, read leniently, and the domain objects that it becomes.

Servers from 3.0 to 3.8 use the same names. Older ones leave some fields out, and any field may be
null. So unknown keys are dropped, null counts as absent, and only what the worker cannot do
without is required.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
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

T = TypeVar("T")


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first hours of the year 1, the last ones of 9999
        raise ValueError("this moment is in no year of UTC") from None


_IS_UUID = AfterValidator(lambda text: str(UUID(text)))
"""Ids name folders, environment variables and addresses, so they must not be any other text."""

Moment = Annotated[datetime, AfterValidator(_in_utc)]
Object = dict[str, Json]


class WireObject(BaseModel):
    """A JSON object of the server."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class Wire(WireObject, Generic[T]):
    """A JSON object of the server that becomes a ``T``."""

    @abstractmethod
    def to_domain(self) -> T:
        """The domain object. ValueError: something in it is missing or contradictory."""


class WirePool(Wire[WorkPool]):
    """``GET /work_pools/{name}``."""

    id: str
    name: str
    type: str
    base_job_template: Object = Field(default_factory=dict)
    is_paused: bool = False
    concurrency_limit: int | None = None

    def to_domain(self) -> WorkPool:
        return WorkPool(**dict(self))


class WireQueue(Wire[WorkQueue]):
    """One of ``POST /work_pools/{name}/queues/filter``."""

    name: str
    is_paused: bool = False
    concurrency_limit: int | None = None

    def to_domain(self) -> WorkQueue:
        return WorkQueue(**dict(self))


class WireState(Wire[State]):
    """A flow run's state."""

    type: StateType
    name: str | None = None
    message: str | None = None
    id: str | None = None
    state_details: Object = Field(default_factory=dict)
    data: Json = None

    def to_domain(self) -> State:
        return State(
            type=self.type,
            name=self.name or self.type.capitalize(),
            message=self.message,
            id=self.id,
            details=self.state_details,
            data=self.data,
        )


def _retries_in_process(run: Mapping[str, Json]) -> bool:
    """An engine says so of a retry that it waits for itself; servers before 3.1.3 drop that."""
    policy = run.get("empirical_policy")
    return isinstance(policy, dict) and policy.get("retry_type") == "in_process"


class WireRun(Wire[FlowRun]):
    """A flow run. From a poll ``state`` is null; its type and name are fields of the run itself.

    Fields that the worker does not use are kept: templates may name them.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    id: Annotated[FlowRunId, _IS_UUID]
    name: str = ""
    flow_id: Annotated[FlowId, _IS_UUID]
    state: WireState | None = None
    state_type: StateType | None = None
    state_name: str | None = None
    deployment_id: Annotated[DeploymentId, _IS_UUID] | None = None
    next_scheduled_start_time: Moment | None = None
    expected_start_time: Moment | None = None
    run_count: int = 0
    job_variables: Object = Field(default_factory=dict)
    parameters: Object = Field(default_factory=dict)
    tags: tuple[str, ...] = ()
    infrastructure_pid: str | None = None
    work_queue_name: str | None = None

    def to_domain(self) -> FlowRun:
        return FlowRun(
            id=self.id,
            name=self.name,
            flow_id=self.flow_id,
            state=self._state(),
            deployment_id=self.deployment_id,
            due=self.next_scheduled_start_time or self.expected_start_time,
            run_count=self.run_count,
            job_variables=self.job_variables,
            parameters=self.parameters,
            tags=self.tags,
            infrastructure_pid=self.infrastructure_pid,
            work_queue_name=self.work_queue_name,
            retries_in_process=_retries_in_process(self.model_extra or {}),
            others=self.model_extra or {},
        )

    def _state(self) -> State:
        if self.state is not None:
            return self.state.to_domain()
        if self.state_type is None:
            raise ValueError(f"flow run {self.id} has no state")
        return State(type=self.state_type, name=self.state_name or self.state_type.capitalize())


class WireDueRun(Wire[FlowRun]):
    """One of ``POST /work_pools/{name}/get_scheduled_flow_runs``."""

    flow_run: WireRun

    def to_domain(self) -> FlowRun:
        return self.flow_run.to_domain()


class WireDeployment(Wire[Deployment]):
    """``GET /deployments/{id}``."""

    id: Annotated[DeploymentId, _IS_UUID]
    name: str = ""
    flow_id: Annotated[FlowId, _IS_UUID] | None = None
    job_variables: Object = Field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def to_domain(self) -> Deployment:
        return Deployment(**dict(self))


class WireFlow(Wire[Flow]):
    """``GET /flows/{id}``."""

    id: Annotated[FlowId, _IS_UUID]
    name: str
    tags: tuple[str, ...] = ()

    def to_domain(self) -> Flow:
        return Flow(**dict(self))


class WireBlock(Wire[Json]):
    """A block document; only its data is used."""

    data: Object

    def to_domain(self) -> Json:
        return self.data


class WireVerdictDetails(WireObject):
    """Why, and for how long."""

    reason: str = ""
    delay_seconds: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)


class WireVerdict(Wire[Verdict]):
    """The answer to ``POST /flow_runs/{id}/set_state``; ``status`` is what counts."""

    status: str
    state: WireState | None = None
    details: WireVerdictDetails = Field(default_factory=WireVerdictDetails)

    def to_domain(self) -> Verdict:
        reason = self.details.reason
        match self.status, self.state:
            case "ACCEPT", WireState() as state:
                return Accepted(state=state.to_domain())
            case "REJECT", WireState() as state:
                return Rejected(state=state.to_domain(), reason=reason)
            case "ABORT", state:
                return Aborted(state=None if state is None else state.to_domain(), reason=reason)
            case "WAIT", _:
                return Wait(delay_seconds=self.details.delay_seconds, reason=reason)
        raise ValueError(f"{self.status!r} is no verdict, or its state is missing")
