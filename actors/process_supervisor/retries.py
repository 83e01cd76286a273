"""What is tried again and again: counted, and said once at its beginning and once at its end."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from ..domain.failures import FailureKind
from ..domain.policy import Backoff
from ..domain.ports import Clock

BACKOFF: Final = Backoff(initial=0.5, ceiling=30.0)


@dataclass(slots=True)
class _Retry:
    since: datetime
    failures: int = 0
    of_this_kind: int = 0
    kind: FailureKind | None = None
    said: str | None = None


class Retries:
    """A part of ProcessSupervisor, owns: which of its effects fail, how often, and since when."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._retries: dict[type, _Retry] = {}

    def failed(self, effect: object, kind: FailureKind) -> int:
        """Count a failure; how many of its kind in a row that makes for this sort of effect."""
        retry = self._retries.setdefault(type(effect), _Retry(self._clock.now()))
        retry.failures += 1
        retry.of_this_kind = retry.of_this_kind + 1 if kind is retry.kind else 1
        retry.kind = kind
        return retry.of_this_kind

    def delay(
        self, effect: object, error: Exception, log: structlog.typing.FilteringBoundLogger
    ) -> float:
        """Seconds until ``effect``, which has failed, is due again. New trouble is logged."""
        retry, trouble = self._retries[type(effect)], str(error) or repr(error)
        if trouble != retry.said:
            retry.said = trouble
            log.warning(
                "run.delayed",
                effect=type(effect).__name__,
                error=trouble,
                failures=retry.failures,
                since=retry.since.isoformat(),
            )
        return BACKOFF.delay(retry.failures, self._rng)

    def succeeded(self, effect: object, log: structlog.typing.FilteringBoundLogger) -> None:
        """Forget the failures of this sort of effect, and say that they are over."""
        retry = self._retries.pop(type(effect), None)
        if retry is not None and retry.said is not None:
            log.info(
                "run.resumed",
                effect=type(effect).__name__,
                failures=retry.failures,
                since=retry.since.isoformat(),
            )
