"""The things that a Prefect server in memory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..domain.ids import FlowRunId
from ..domain.model import FlowRun, Json, State, WorkPool, WorkQueue


@dataclass(slots=True, kw_only=True)
class Pool:
    """A work pool with its queues, which are served in this order."""

    pool: WorkPool
    queues: list[WorkQueue]


@dataclass(slots=True, kw_only=True)
class Run:
    """A flow run and everything that ever happened to its state."""

    run: FlowRun
    pool: str
    queue: str
    history: list[State]
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The current state."""
        return self.run.state


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life from a worker."""

    pool: str
    worker: str
    interval_seconds: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Block:
    """A block document."""

    id: str
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, as the server tells it to those who listen."""

    id: str
    name: str
    pool_id: str
    queue: str | None = None
    run_id: FlowRunId | None = None
