"""What a run's supervisor tells itself: the ends of its waits."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.masking import Masker
from ..domain.model import State, StateType, Verdict
from ..domain.process import KeptRun, ProcessIdentity
from ..domain.record import RunRecord
from ..job.prepared_job import PreparedJob
from .machine.effects import Effect, Propose
from .machine.stimuli import Stimulus


@dataclass(frozen=True, slots=True)
class Happened:
    """Something happened to the run that its machine has to decide on."""

    stimulus: Stimulus


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """The run has its process."""

    process: ProcessIdentity


@dataclass(frozen=True, slots=True)
class Recalled:
    """The keeper has said what it knows of an adopted run; None: nothing."""

    kept: KeptRun | None


@dataclass(frozen=True, slots=True)
class Recall:
    """Ask the keeper (again) what became of an adopted run."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The job is prepared."""

    preparation: PreparedJob


@dataclass(frozen=True, slots=True)
class Failed:
    """The wait for an effect has failed."""

    effect: Effect | Recall
    error: Exception


@dataclass(frozen=True, slots=True)
class Said:
    """The server has answered a proposal."""

    effect: Propose
    verdict: Verdict
    before: StateType | None = None
    """In which state the server had the run before, where that was read."""
    tail: tuple[str, ...] | None = None
    """The end of its output, where that was read for the run's log."""


@dataclass(frozen=True, slots=True)
class SaveEnded:
    """The journal has saved the run's record, or could not."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class SaveIsLate:
    """The journal may still be at work on this record."""

    record: RunRecord


@dataclass(frozen=True, slots=True)
class Closed:
    """The journal has closed the run's record, or could not."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The server has told how it holds the run."""

    state: State


@dataclass(frozen=True, slots=True)
class SecretsLearned:
    """Which secrets an adopted run may print; None: it cannot be found out any more."""

    masker: Masker | None


@dataclass(frozen=True, slots=True)
class Again:
    """What failed for a passing reason is due again."""

    effect: Effect | Recall


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody took an order or a fact; nothing follows from that."""

    what: str


@dataclass(frozen=True, slots=True)
class Aside:
    """A wait that the run does not depend on is over."""

    what: str
    error: Exception | None = None
