"""What the worker reads from a Prefect server and sends to it, without the form of the wire.

Only what the worker uses is here: ``prefect_api/models.py`` reads it from JSON and drops the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from .ids import DeploymentId, FlowId, FlowRunId, TransitionId

Json = Any
"""Any JSON value."""


class StateType(StrEnum):
    """The types a flow run's state can have."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"

    @property
    def is_terminal(self) -> bool:
        """Whether a run in this state is over for good."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A flow run's state as the server holds it."""

    type: StateType
    name: str
    message: str | None = None
    id: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    data: Json = None

    @property
    def transition_id(self) -> TransitionId | None:
        """The id of the transition into this state, if the server sends it."""
        value = self.details.get("transition_id")
        return None if value is None else TransitionId(str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPool:
    """A work pool; ``base_job_template`` is ``{}`` in a pool that was created without one."""

    id: str
    name: str
    type: str
    base_job_template: Mapping[str, Json]
    is_paused: bool = False
    concurrency_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkQueue:
    """A queue of a work pool."""

    name: str
    is_paused: bool = False
    concurrency_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRun:
    """A flow run. From a poll, ``state`` has only type and name: servers send no more."""

    id: FlowRunId
    name: str
    flow_id: FlowId
    state: State
    deployment_id: DeploymentId | None = None
    due: datetime | None = None
    """When it should start, timezone-aware; None: at once."""
    run_count: int = 0
    job_variables: Mapping[str, Json] = field(default_factory=dict)
    parameters: Mapping[str, Json] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    infrastructure_pid: str | None = None
    work_queue_name: str | None = None
    retries_in_process: bool = False
    """Whether its own process waits to retry it: the server offers it to no worker again."""
    others: Mapping[str, Json] = field(default_factory=dict, repr=False)
    """All other fields of the server's answer, for ``{{ ctx.flow_run.* }}``."""

    def due_in(self, now: datetime) -> float:
        """Seconds until it should start; 0 when that is past."""
        return max((self.due - now).total_seconds(), 0.0) if self.due else 0.0


@dataclass(frozen=True, slots=True)
class InfrastructurePid:
    """Where a run's process is, as a worker has reported it.

    Prefect's workers from 3.3 to 3.8 report only the pid; older ones, and this one, the host too.
    """

    host: str | None
    pid: int

    @classmethod
    def parse(cls, text: str) -> InfrastructurePid | None:
        """None: ``text`` does not end with a number. The last colon counts, IPv6 has others."""
        host, _, pid = text.rpartition(":")
        return cls(host or None, int(pid)) if pid.isdecimal() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueListing:
    """The answer to one poll, in the server's order."""

    runs: tuple[FlowRun, ...]
    length: int
    """How many runs the server listed, including those that could not be read."""
    may_be_cut: bool
    """Whether the server may have more due runs than it listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment."""

    id: DeploymentId
    name: str
    flow_id: FlowId | None = None
    has_pull_steps: bool = False
    local_entrypoint: str | None = None
    """The file and flow to run, where nothing brings the code: it is there already."""
    job_variables: Mapping[str, Json] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A flow."""

    id: FlowId
    name: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A state to propose for a flow run. A retry sends the same transition id."""

    type: StateType
    name: str
    transition_id: TransitionId
    message: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict)
    """Further ``state_details``, for instance those of the state that is replaced."""
    data: Json = None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The state is now the proposed one."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The server set another state instead, or kept the one it had."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted:
    """The server refused; the run's state, if it is known, is unchanged."""

    state: State | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Propose again, with a new transition id, after ``delay_seconds``."""

    delay_seconds: float
    reason: str = ""


Verdict = Accepted | Rejected | Aborted | Wait
"""The server's answer to a proposal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a flow run's log; ``level`` is a number of :mod:`logging`."""

    flow_run_id: FlowRunId
    level: int
    message: str
    timestamp: datetime
    logger: str = "prefect.flow_runs.worker"


Resource = Mapping[str, str]
"""Labels of one event resource, ``prefect.resource.id`` among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEvent:
    """An event of Prefect's event system."""

    id: str
    event: str
    occurred: datetime
    resource: Resource
    related: tuple[Resource, ...] = ()
    follows: str | None = None
    payload: Mapping[str, Json] = field(default_factory=dict)
