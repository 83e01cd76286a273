"""What the in-memory Prefect server keeps about its things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..domain.model import FlowRun, Json, State, WorkPool


@dataclass(slots=True, kw_only=True)
class Queue:
    """A work queue; priority 1 is served first."""

    name: str
    priority: int = 1
    is_paused: bool = False
    concurrency_limit: int | None = None


@dataclass(slots=True, kw_only=True)
class Pool:
    """A work pool with its queues by name."""

    pool: WorkPool
    queues: dict[str, Queue]


@dataclass(slots=True, kw_only=True)
class Run:
    """A flow run and everything that ever happened to its state."""

    run: FlowRun
    pool: str
    queue: str
    history: list[State] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The current state."""
        return self.run.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A sign of life from a worker."""

    pool: str
    worker: str
    interval_seconds: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block document."""

    id: str
    type_slug: str
    name: str
    data: Mapping[str, Json]
