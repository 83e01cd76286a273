"""What a run's supervisor has to carry out: the answers of :func:`~.step.step`.

The record is saved before any effect of the same step is carried out, so every effect may be
carried out again by a successor and must be harmless when it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...domain.model import Proposal
from ...domain.record import Reason
from ...domain.worker_events import EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class AskKeeper:
    """Ask the keeper what it knows of the run, and listen to its facts from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Propose a state until the server has answered; a later one takes an earlier one's place."""

    proposal: Proposal
    delay_seconds: float = 0.0
    """Not before so many seconds from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareJob:
    """Read what the job depends on and put it together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnSecrets:
    """Find out what an adopted run must not show: its secrets are in no record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntilDue:
    """Take ``Due`` after ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Have the keeper start the process (at most one per claim key)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TellPid:
    """Tell the server where the process is."""

    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLabels:
    """Label the run with its worker and pool, where the server knows labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTree:
    """Have the keeper end the whole process tree."""

    signal: int
    grace_seconds: float
    announce_cancel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks:
    """Have the keeper run the flow's hooks (once per claim) and listen to their process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndHooks:
    """Have the keeper end the hooks and all they have started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartHooksTimeout:
    """Take ``HooksTimedOut`` after ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimeout:
    """Take ``EndRun(TIMED_OUT)`` once the run has lasted for ``seconds``."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """Emit a worker event about this run."""

    kind: EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Write a line into the worker's log and, unless ``local``, the run's log in the API."""

    level: int
    text: str
    local: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduce:
    """Remark which worker on which host has claimed the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckState:
    """Read the run's state at the server and take ``StateSeen``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadHistory:
    """Read which states the run has had and take ``HistorySeen``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSlot:
    """The run takes up no capacity any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Nothing is left to do: close the record, let the keeper forget, end the supervisor."""

    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """End the supervisor and leave the record as it is: the next worker tries again.

    A next worker may be a mended version; a record that is closed would be lost to it.
    """

    cause: str


Request = (
    AskKeeper
    | Propose
    | PrepareJob
    | LearnSecrets
    | Spawn
    | TellPid
    | AddLabels
    | EndTree
    | RunHooks
    | EndHooks
    | CheckState
    | ReadHistory
    | Settle
)
"""An effect that waits for the keeper or the server, may fail and be tried again."""

Local = WaitUntilDue | StartTimeout | StartHooksTimeout | Emit | Remark | Introduce | Abandon
"""An effect that is carried out at once."""

Effect = Request | Local | FreeSlot
