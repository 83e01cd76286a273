"""About the worker's own life: between the Guardian, the command line and the services."""

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
    """It takes nothing new and waits for its runs, or for their end."""


@dataclass(frozen=True, slots=True)
class CurrentStage(Query[Stage]):
    """Question to the Guardian."""


@dataclass(frozen=True, slots=True)
class Reexec:
    """Order: stop now and leave all runs to the keeper; this process executes the worker anew."""


@dataclass(frozen=True, slots=True)
class EndAllRuns:
    """Order to the Dispatcher: end every run, because the worker stops."""


@dataclass(frozen=True, slots=True)
class LeaveAllRuns:
    """Order to the Dispatcher: give back what has no process, leave the rest, and say Idle."""


class Round(StrEnum):
    """What a run-once worker does once."""

    POLL = "poll"
    CANCEL_CHECK = "cancel check"


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """Fact for the Guardian of a run-once worker: this is done."""

    what: Round


@dataclass(frozen=True, slots=True)
class OnlyReports:
    """Fact for the Guardian: all runs that were to end are over; the server may not know yet."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Fact for the Guardian: the draining Dispatcher has no run in hand any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FatalError:
    """Fact for the Guardian: the worker cannot do its job; the error says why."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Tick:
    """To itself: the time for the next round of periodic work has come."""
