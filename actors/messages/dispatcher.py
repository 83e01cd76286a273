"""What the Dispatcher is asked and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..domain.ids import ClaimKey, DeploymentId, FlowRunId, TransitionId
from ..domain.model import FlowRun, State, WorkPool
from ..domain.process import MemorySample, ProcessIdentity
from ..domain.record import Reason
from ..domain.run import Run
from ..runtime import Query

MAX_RUNS_PER_POLL: Final = 200
"""The server answers 422 to a larger limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How many runs the Dispatcher can admit, and which ones it does not expect to."""

    enough: int
    """How many promising runs are enough for one poll."""
    ask_for: int
    """The limit to poll with: more than the free slots where the server also lists others."""
    known: frozenset[FlowRunId]
    """Active runs, and those that the server refused lately."""
    full_deployments: frozenset[DeploymentId]
    """Deployments whose runs the server refused lately."""

    def is_promising(self, run: FlowRun) -> bool:
        """Whether nothing is known that speaks against a claim."""
        return run.id not in self.known and run.deployment_id not in self.full_deployments


@dataclass(frozen=True, slots=True)
class CurrentCapacity(Query[Capacity]):
    """Question before a poll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """At most ``room`` of ``runs`` may be claimed, by a limit of the work pool or of a queue."""

    runs: frozenset[FlowRunId]
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRuns:
    """Fact: what a poll brought, with the pool as of that poll."""

    runs: tuple[FlowRun, ...]
    pool: WorkPool
    asked_at: float
    """When the poll was sent, on the monotonic clock: it may list what was settled since."""
    shares: tuple[Share, ...] = ()
    """Upper bounds on how many runs may be claimed; empty: all of ``runs``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettled:
    """Fact: nothing is left to do for this claim. No reason: the server refused it."""

    key: ClaimKey
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMeasured:
    """Fact: what the machine, and the runs with a limit, use."""

    sample: MemorySample


@dataclass(frozen=True, slots=True)
class MemoryLimitedRuns(Query[Mapping[ClaimKey, ProcessIdentity]]):
    """Question: the processes of the runs whose memory has a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """Fact: an active run as it is now. Its supervisor tells it whenever it changes."""

    key: ClaimKey
    run: FlowRun
    claim: TransitionId
    holds_slot: bool
    claimed: bool
    """Whether the server has answered the claim; then it lists the run no more."""
    memory_limited: ProcessIdentity | None = None
    """Its process, if there is one whose memory has a limit."""

    @classmethod
    def of(cls, run: Run, *, memory_limited: ProcessIdentity | None = None) -> RunInfo:
        """What there is to know of ``run``."""
        record = run.record
        return cls(
            key=record.key,
            run=record.run,
            claim=record.claim,
            holds_slot=run.holds_slot,
            claimed=not run.is_claiming,
            memory_limited=memory_limited,
        )


@dataclass(frozen=True, slots=True)
class ListRuns(Query[tuple[RunInfo, ...]]):
    """Question: every active run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelIfOurs(Query[bool]):
    """Question: is this run ours? If it is, its supervisor has been told to cancel it."""

    run_id: FlowRunId
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsDeleted:
    """Fact: the server does not know these runs any more."""

    run_ids: frozenset[FlowRunId]


@dataclass(frozen=True, slots=True)
class DropDueRuns:
    """Order: do not admit what waits for admission, because the worker drains."""


@dataclass(frozen=True, slots=True)
class EndAllRuns:
    """Order: end every run, because the worker stops."""


@dataclass(frozen=True, slots=True)
class LeaveAllRuns:
    """Order: give back the runs that have no process, leave the others to the keeper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a worker that stops still has to wait for."""

    is_idle: bool
    """Nothing: no run is active, or all that can be given back was given back."""
    processes: int
    """Runs that have, or may have, a process."""


@dataclass(frozen=True, slots=True)
class CurrentWorkload(Query[Workload]):
    """Question of a Guardian that waits for the runs."""
