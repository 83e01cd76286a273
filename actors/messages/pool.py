"""About the work pool: said and answered by the Heartbeater."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.model import WorkPool, WorkQueue
from ..runtime import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSynced:
    """Fact: the pool as the server holds it now, with the queues that this worker serves."""

    pool: WorkPool
    queues: tuple[WorkQueue, ...] = ()
    """None where they could not be read."""


@dataclass(frozen=True, slots=True)
class CurrentPool(Query[WorkPool | None]):
    """Question: the pool as of the last sync, None before the first."""
