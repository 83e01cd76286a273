"""Which effects are tried again after a failure, and what the machine is told of the others."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from ..domain.errors import FailureKind, NotFound, classify_failure, is_final
from ..domain.model import StateType
from ..domain.policy import Backoff
from ..domain.ports import Clock
from ..domain.record import Phase, RunRecord
from .machine import effects, stimuli
from .machine.proposals import is_submitting

BACKOFF: Final = Backoff(initial=0.5, ceiling=30.0)

REFUSALS = 150
"""How often in a row a report or a read may be refused until it is given up: over an hour."""

FORGET_TRIES = 8
"""How often the keeper is told to forget a run until that is left to the next worker."""

BUG_TRIES = 5
"""How often an end is reported, or a state read, despite a bug: it may depend on the moment."""


def tries(effect: effects.Request, error: Exception, record: RunRecord) -> float:
    """How many failures in a row of the kind of ``error`` the effect survives.

    A refusal may come from a proxy and not from the server, and much depends on reports and
    reads: so they are repeated for more than an hour. Of a run that is deleted nothing more is
    expected. A refused claim is looked at before it is given up (Proposals): should the server
    have taken it all the same, the run must not be left Pending.
    """
    kind = classify_failure(error)
    is_optional = isinstance(effect, effects.Propose) and is_submitting(effect.proposal)
    if is_optional or isinstance(effect, effects.AddLabels):
        return 0
    if kind is FailureKind.PASSING:
        return FORGET_TRIES if isinstance(effect, effects.Settle) else math.inf
    if isinstance(error, NotFound):
        return 0
    match effect:
        case effects.CheckState() | effects.ReadHistory():
            return BUG_TRIES - 1 if kind is FailureKind.BUG else REFUSALS
        case effects.Propose(proposal=proposal) if kind is FailureKind.FINAL:
            return math.inf if proposal.type is StateType.PENDING else REFUSALS
        case effects.Propose() if record.phase is Phase.REPORTING:
            return BUG_TRIES - 1
    return 0


@dataclass(slots=True)
class _Failures:
    since: datetime
    count: int = 0
    kind: FailureKind | None = None
    of_this_kind: int = 0
    logged: str | None = None


class Retries:
    """A part of ProcessSupervisor, owns: which of its effects fail, how often, and since when."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._failures: dict[type[effects.Request], _Failures] = {}

    def delay(
        self,
        effect: effects.Request,
        error: Exception,
        record: RunRecord,
        log: structlog.typing.FilteringBoundLogger,
    ) -> float | None:
        """Seconds until ``effect``, which has failed, is due again; None: it is given up.

        New trouble is logged.
        """
        failures = self._failures.setdefault(type(effect), _Failures(self._clock.now()))
        kind, trouble = classify_failure(error), str(error) or repr(error)
        failures.count += 1
        failures.of_this_kind = failures.of_this_kind + 1 if kind is failures.kind else 1
        failures.kind = kind
        if failures.of_this_kind > tries(effect, error, record):
            return None
        if trouble != failures.logged:
            failures.logged = trouble
            log.warning(
                "run.delayed",
                effect=type(effect).__name__,
                error=trouble,
                failures=failures.count,
                since=failures.since.isoformat(),
            )
        return BACKOFF.delay(failures.count, self._rng)

    def succeeded(
        self, effect: effects.Request, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """Forget the failures of this sort of effect, and log that they are over."""
        failures = self._failures.pop(type(effect), None)
        if failures is not None and failures.logged is not None:
            log.info(
                "run.resumed",
                effect=type(effect).__name__,
                failures=failures.count,
                since=failures.since.isoformat(),
            )


def stimulus_of_failure(
    effect: effects.Effect, error: Exception, cause: str
) -> stimuli.Stimulus | None:
    """What the failure means to the machine; None: nothing follows from it.

    ``cause`` is the error in words that may be shown.
    """
    match effect:
        case effects.Propose(proposal=proposal):
            return stimuli.ProposalFailed(
                proposal=proposal,
                cause=cause,
                was_refused=is_final(error),
                was_deleted=isinstance(error, NotFound),
            )
        case effects.PrepareJob():
            return stimuli.CouldNotPrepare(
                cause=cause, deployment_missing=isinstance(error, NotFound)
            )
        case effects.Spawn():
            return stimuli.CouldNotSpawn(cause=cause)
        case effects.RunHooks() | effects.EndHooks():
            return stimuli.HooksFailed(cause=cause)
        case effects.CheckState() if isinstance(error, NotFound):
            return stimuli.StateSeen(state=None)
        case effects.CheckState() | effects.ReadHistory():
            return stimuli.StateUnknown(cause=cause)
    return None
