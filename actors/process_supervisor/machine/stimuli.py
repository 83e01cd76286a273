"""What can happen to a run: the events that :func:`~.step.step` understands."""

from __future__ import annotations

from dataclasses import dataclass

from ...domain.model import Proposal, Resource, State, Verdict
from ...domain.process import ExitStatus, TreeEnded
from ...domain.record import JobSummary
from ...domain.run import CancelRun, EndRun, OfferedAgain


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The run has a slot and a supervisor; nothing was said to the server yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A supervisor took over what its predecessor's record tells.

    ``pid`` is that of the process which the keeper knows under this claim (alive or over), None
    when it knows none. ``rebooted``: the machine was started anew since that process existed.
    """

    pid: int | None
    rebooted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The server answered a proposal."""

    proposal: Proposal
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFailed:
    """The server refuses to answer this proposal, or a bug keeps it or its answer from us."""

    proposal: Proposal
    cause: str
    was_refused: bool
    """The run is gone, or the request is wrong."""
    was_deleted: bool = False
    """The run is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The job is complete. ``due_in`` is for how many seconds it must not start yet."""

    job: JobSummary
    related: tuple[Resource, ...]
    remarks: tuple[tuple[int, str], ...] = ()
    """What is to be said of it in the run's log, with levels."""
    due_in: float = 0.0
    says_submitting: bool = False
    """Whether the run is to be Submitting before its process is started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The time has come for a job that had to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CouldNotPrepare:
    """The job cannot be put together, and trying again will not help."""

    cause: str
    deployment_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """Its process exists."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CouldNotSpawn:
    """No process could be started; the cause in words."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """Its process is over; ``tail`` holds the last lines of its output.

    ``kernel_kill``: there is evidence that the kernel killed it for lack of memory.
    ``tail_follows``: a ``TailKnown`` may come, with lines to take the place of ``tail``.
    """

    status: ExitStatus
    tail: tuple[str, ...] = ()
    kernel_kill: bool = False
    tail_follows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TailKnown:
    """The last lines of the output of a run that is over can be shown now."""

    tail: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksStarted:
    """The keeper has, or had, a process for the flow's hooks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksEnded:
    """That process is over."""

    status: ExitStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksFailed:
    """The hooks cannot be run, or not be ended; the cause in words."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HooksTimedOut:
    """The hooks had their time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBackWanted:
    """The worker leaves: what it has claimed and not started is for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSeen:
    """How the server holds the run, after a ``CheckState``; None: it knows it no more."""

    state: State | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySeen:
    """The states that the run has had, oldest first, after a ``ReadHistory``."""

    states: tuple[State, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUnknown:
    """A ``CheckState`` or ``ReadHistory`` has failed, and trying again will not help."""

    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFailed:
    """A bug of the worker's keeps it from seeing this run through; the cause in words."""

    cause: str


Stimulus = (
    Begun
    | Adopted
    | Answered
    | ProposalFailed
    | Prepared
    | Due
    | CouldNotPrepare
    | Spawned
    | CouldNotSpawn
    | Exited
    | TailKnown
    | TreeEnded
    | CancelRun
    | EndRun
    | OfferedAgain
    | HooksStarted
    | HooksEnded
    | HooksFailed
    | HooksTimedOut
    | GiveBackWanted
    | StateSeen
    | HistorySeen
    | StateUnknown
    | WorkerFailed
)
