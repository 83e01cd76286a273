"""The part of a run that must survive the worker: enough to adopt it, report it, or settle it.

The journal writes it as JSON. It holds no secrets: no environment, no resolved variables, and not
what a user has given to the run (:meth:`RunRecord.for_keeping`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from .ids import ClaimKey, TransitionId
from .model import FlowRun, Proposal, Resource, State
from .process import ExitStatus


class Phase(StrEnum):
    """Where in its life a claimed run is."""

    CLAIMING = "claiming"
    """Pending is being proposed; whether the run is ours is not known yet."""
    PREPARING = "preparing"
    """Ours. Its job is being put together; nothing was started."""
    SPAWNING = "spawning"
    """The keeper may have been told to start it."""
    RUNNING = "running"
    """Its process exists."""
    REPORTING = "reporting"
    """Its process is over, or was never started; the server is being told."""
    OVER = "over"
    """Settled: nothing left to do."""


class Reason(StrEnum):
    """Why a run ended. The list is closed: messages, events, logs and metrics use these words."""

    EXITED = "exited"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY_LIMIT = "out of memory (limit)"
    OUT_OF_MEMORY_KERNEL = "out of memory (kernel)"
    WORKER_STOPPED = "worker stopped"
    MACHINE_RESTARTED = "machine restarted"
    LOST = "lost"
    COULD_NOT_START = "could not start"
    WORKER_FAILED = "worker failed"
    DELETED = "deleted"


MEBIBYTE = 1024 * 1024
"""The unit of ``memory_limit_mb``, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one run. None means no bound."""

    timeout_seconds: float | None = None
    memory_limit_mb: float | None = None
    grace_seconds: float = 30.0
    kill_signal: int = 15
    nice: int = 0

    def exceeds_memory(self, used_bytes: int) -> bool:
        """Whether a run that holds ``used_bytes`` holds more than it may."""
        return self.memory_limit_mb is not None and used_bytes > self.memory_limit_mb * MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """What of a job is worth keeping once its process exists."""

    command: str
    """The command line as a person would read it, without secrets."""
    name: str | None = None
    """How the job is called, without secrets; None: as its flow run."""
    working_dir: str | None = None
    stream_output: bool = True
    is_engine: bool = True
    """Whether it is Prefect's engine, which reports its own states."""
    uses_runner: bool = False
    """Whether it is ``prefect flow-run execute``, which cancels its engine by itself."""
    report_states: bool = False
    hooks_seconds: float | None = None
    """How long its flow's hooks may take once its engine is gone; None: they are not run."""
    limits: Limits = Limits()


class HooksKind(StrEnum):
    """Which hooks of a flow run once its engine is gone."""

    CRASHED = "crashed"
    CANCELLATION = "cancellation"


class HooksStage(StrEnum):
    """How far hooks have come."""

    WANTED = "wanted"
    """They run if the run's state turns out to be one for them."""
    DUE = "due"
    """The keeper is, or will be, told to run them."""
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """The hooks that the worker runs after an engine that could not."""

    kind: HooksKind
    stage: HooksStage
    state_id: str | None = None
    """The state that is passed to them; None: the run's."""
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One claim of one flow run, as the journal keeps it."""

    key: ClaimKey
    worker: str
    run: FlowRun
    claim: TransitionId
    phase: Phase
    job: JobSummary | None = None
    related: tuple[Resource, ...] = ()
    """The related resources of this run's events."""
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    pid: int | None = None
    exit: ExitStatus | None = None
    reason: Reason | None = None
    cancelling: State | None = None
    """The state in which the server was seen to want this run cancelled."""
    report: Proposal | None = None
    """The state still to be proposed. Its transition id survives restarts: it is accepted once."""

    hooks: Hooks | None = None

    @property
    def awaits_hooks(self) -> bool:
        """Whether hooks have to run, or may have to, before the run is over."""
        return self.hooks is not None and self.hooks.stage is not HooksStage.OVER

    @property
    def limits(self) -> Limits:
        """The limits of its job, which are none until that is known."""
        return self.job.limits if self.job else Limits()

    def for_keeping(self) -> RunRecord:
        """The record without job variables, parameters and the like, which may hold secrets.

        The supervisor that takes the run up asks the server for them again.
        """
        run = replace(self.run, job_variables={}, parameters={}, others={})
        return replace(self, run=run)
