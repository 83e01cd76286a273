"""What the supervisor of a run is started with, asked and told, beside ``domain.run``'s orders."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..domain.model import WorkPool
from ..domain.run import Run
from ..runtime import Query
from .dispatcher import RunInfo


@dataclass(frozen=True, slots=True)
class SupervisorStart:
    """A new run with its pool, or one to be adopted."""

    run: Run
    pool: WorkPool | None = None
    """None: adopted, the supervisor asks for the pool if it needs one."""
    asked_at: float = -math.inf
    """When the poll was sent that brought the run, on the monotonic clock."""
    failure: str | None = None
    """Why the run must be ended: the failure of its supervisors, in words."""

    @property
    def adopted(self) -> bool:
        """Whether the run has a history."""
        return self.pool is None


@dataclass(frozen=True, slots=True)
class CurrentRun(Query[RunInfo]):
    """Question: the run as it is now."""


@dataclass(frozen=True, slots=True)
class GiveBack(Query[bool]):
    """Order: give the run back if it has no process yet; answers whether that is so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsed:
    """Fact: the memory that the run's processes use together."""

    used_bytes: int
