"""What the Heartbeater is asked, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.model import WorkPool, WorkQueue
from ..runtime import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """The work pool as of the last heartbeat, with the queues that this worker serves."""

    pool: WorkPool
    queues: tuple[WorkQueue, ...] = ()
    """None where they could not be read."""


@dataclass(frozen=True, slots=True)
class CurrentPool(Query[PoolSnapshot | None]):
    """Question: the work pool; None before it was read for the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSynced:
    """Fact for Guardian and EventSubscriber: the pool is there, and a heartbeat was answered."""

    pool: WorkPool
