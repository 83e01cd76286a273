"""What a run's supervisor tells itself, beside the stimuli of its machine.

The result of a wait is a stimulus wherever it can be. The messages here carry what the supervisor
has to note before the machine decides, or what the machine need not know.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.masking import Masker
from ..domain.model import Verdict
from ..domain.process import KeptRun
from ..domain.record import RunRecord
from .machine.effects import Propose, Request


@dataclass(frozen=True, slots=True)
class KeeperAnswered:
    """The keeper has told what it knows of the run; None: nothing."""

    kept: KeptRun | None


@dataclass(frozen=True, slots=True)
class ProposalAnswered:
    """The server has answered a proposal."""

    effect: Propose
    verdict: Verdict
    tail: tuple[str, ...] = ()
    """The end of the output, for the run's log, where the run could not write it there."""


@dataclass(frozen=True, slots=True)
class EffectDone:
    """A request is answered, and nothing follows from it for the run."""

    effect: Request


@dataclass(frozen=True, slots=True)
class EffectFailed:
    """An effect could not be carried out this time."""

    effect: Request
    error: Exception


@dataclass(frozen=True, slots=True)
class Retry:
    """It is time to try the effect again."""

    effect: Request


@dataclass(frozen=True, slots=True)
class SecretsLearned:
    """Which secrets an adopted run may print; None: it cannot be found out any more."""

    masker: Masker | None


@dataclass(frozen=True, slots=True)
class SaveEnded:
    """The journal has saved the run's record, or could not."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class SaveIsLate:
    """The journal may still be saving this record."""

    record: RunRecord


@dataclass(frozen=True, slots=True)
class Closed:
    """The journal has closed the run's record, or could not."""

    error: Exception | None = None
