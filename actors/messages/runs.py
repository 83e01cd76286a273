"""About flow runs: between Poller, Dispatcher, CancellationWatcher and the supervisors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..dispatcher.admission import Share
from ..domain.ids import ClaimKey, DeploymentId, FlowRunId, TransitionId
from ..domain.memory import MemorySample
from ..domain.model import FlowRun, State, WorkPool
from ..domain.process import ProcessIdentity
from ..domain.record import Reason
from ..domain.run import Run
from ..runtime import Query


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRuns:
    """Fact for the Dispatcher: what a poll brought, with the pool as of that poll."""

    runs: tuple[FlowRun, ...]
    pool: WorkPool
    asked_at: float
    """When the poll was sent, on the monotonic clock: what was settled since is not meant."""
    shares: tuple[Share, ...] = ()
    """How many of which runs may be claimed; empty: all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """How much the Dispatcher can take in."""

    free: int | None
    """Free slots; None without a limit."""
    passed_over: int
    """Runs that a poll will bring although they are not for the taking."""
    known: frozenset[FlowRunId]
    """Runs in hand, and those that the server refused lately."""
    full_deployments: frozenset[DeploymentId]
    """Deployments whose runs the server refused lately."""

    def is_promising(self, run: FlowRun) -> bool:
        """Whether nothing is known that speaks against a claim."""
        return run.id not in self.known and run.deployment_id not in self.full_deployments


@dataclass(frozen=True, slots=True)
class CurrentIntake(Query[Intake]):
    """Question to the Dispatcher before a poll."""


@dataclass(frozen=True, slots=True)
class SupervisorStart:
    """What a supervisor is started with: a new run with its pool, or one to be adopted."""

    run: Run
    pool: WorkPool | None = None
    """None: adopted, the supervisor asks for the pool if it needs one."""
    listed_at: float = -math.inf
    """When the poll was sent that brought the run, on the monotonic clock."""
    failure: str | None = None
    """Why the run is to be ended: what its supervisors have failed of, in words."""

    @property
    def adopted(self) -> bool:
        """Whether the run has a history."""
        return self.pool is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimAnswered:
    """Fact for the Dispatcher: the server has answered the claim, the run is off its list."""

    key: ClaimKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFreed:
    """Fact for the Dispatcher: this claim takes up no capacity any more."""

    key: ClaimKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettled:
    """Fact for the Dispatcher: nothing is left to do for this claim."""

    key: ClaimKey
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorEnded:
    """Fact for the Dispatcher: the actor of this claim is gone, by a failure or not."""

    key: ClaimKey
    failure: BaseException | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A run in hand."""

    key: ClaimKey
    run: FlowRun
    claim: TransitionId
    holds_slot: bool
    claimed: bool
    memory_limited: ProcessIdentity | None = None
    """Its process, if there is one whose memory has a limit."""


@dataclass(frozen=True, slots=True)
class CurrentSituation(Query[Situation]):
    """Question to a supervisor."""


@dataclass(frozen=True, slots=True)
class RunsInHand(Query[tuple[Situation, ...]]):
    """Question to the Dispatcher: every run it knows of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun:
    """Order to a supervisor: the server wants this run cancelled."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelIfOurs(Query[bool]):
    """Question to the Dispatcher: is this run ours? If so its supervisor was told to cancel it."""

    run_id: FlowRunId
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRun:
    """Order to a supervisor: end the run for a reason of the worker's."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class GiveBack(Query[bool]):
    """Order to a supervisor: give the run back if it has no process yet; whether that is so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimited:
    """Fact for the Dispatcher: the run has a process now, and its memory has a limit."""

    key: ClaimKey
    process: ProcessIdentity


@dataclass(frozen=True, slots=True)
class MemoryLimitedRuns(Query[Mapping[ClaimKey, ProcessIdentity]]):
    """Question to the Dispatcher: the processes of the runs whose memory has a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMeasured:
    """Fact for the Dispatcher: what the machine, and the runs with a limit, use."""

    sample: MemorySample


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsed:
    """Fact for a supervisor: what its run's processes hold together."""

    used_bytes: int


@dataclass(frozen=True, slots=True)
class PollNow:
    """Order to the Poller: capacity or work is there, do not wait for the next turn."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Order to the Dispatcher: no more runs will come; say so when none is left."""
