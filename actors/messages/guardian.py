"""What the Guardian is told and asked: the worker's way from start to end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..runtime import Query


@dataclass(frozen=True, slots=True)
class Drain:
    """Order: take nothing new, finish what is there, then stop."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Order: stop waiting for runs and do with them what the settings say."""


class Stage(StrEnum):
    """Where in its life a worker is."""

    WORKING = "working"
    DRAINING = "draining"
    """It takes nothing new and waits for its runs."""
    ENDING = "ending"
    """It waits for the end of its runs, which it has ordered."""


@dataclass(frozen=True, slots=True)
class CurrentStage(Query[Stage]):
    """Question to the Guardian."""


@dataclass(frozen=True, slots=True)
class Reexec:
    """Order: stop now and leave all runs to the keeper; this process executes the worker anew."""


class Round(StrEnum):
    """What a run-once worker does once."""

    POLL = "poll"
    CANCEL_CHECK = "cancel check"


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """Fact for the Guardian of a run-once worker: this is done."""

    what: Round


@dataclass(frozen=True, slots=True)
class WorkloadFell:
    """Fact: there may be less to wait for; ask the Dispatcher for its Workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FatalError:
    """Fact for the Guardian: the worker cannot do its job; the error says why."""

    error: Exception
