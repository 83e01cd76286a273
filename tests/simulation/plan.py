"""What a seed means: a server, runs and programs, what users do, and what goes wrong when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from actors.testing.state_rules import OnFull

from .stream import NO_FAULTS, StreamFaults

Sort = Literal["engine", "reporting", "plain", "bad"]
Outcome = Literal["completes", "fails", "crashes", "sleeps"]
OnSignal = Literal["dies", "crashed", "cancels", "ignores", "slow"]

Bug = tuple[str, Literal["before", "after"]]
"""What is done, and whether the error comes before or after its effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a run's process does. Seconds are virtual."""

    sort: Sort
    outcome: Outcome
    boot: float
    work: float
    code: int
    on_signal: OnSignal
    lingers: float = 0.0
    """How long something it started outlives it."""
    holds_mb: float = 50.0
    prints: int = 0
    """How many lines, all at once."""
    ends_badly: bool = False
    """Whether its process exits with ``code`` although its engine is through with the flow."""
    bug: Bug | None = None
    """What the worker cannot do for this run, whenever it tries, until it is mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    name: str
    at: float
    """When it is created, due ``early`` seconds later."""
    early: float
    deployment: int | None
    queue: str
    variables: Mapping[str, Any]
    program: Program


@dataclass(frozen=True, slots=True)
class Act:
    """Somebody or something intervenes: ``what`` names a method of ``Acts``."""

    at: float
    what: str
    target: Any = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRates:
    """How likely a request meets trouble, each between 0 and 1; outages: (from, to, kind)."""

    lost: float
    unanswered: float
    garbled: float
    slow: float
    repeated: float
    keeper_lost: float
    late: float
    """A request that the worker is told was lost, and that arrives long after."""
    outages: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything about one simulation that is decided beforehand."""

    version: str
    limit: int | None
    query_seconds: float
    on_deadline: str
    calm_at: float
    """From when on nothing goes wrong any more."""
    deployments: tuple[tuple[int | None, OnFull], ...]
    runs: tuple[PlannedRun, ...]
    acts: tuple[Act, ...]
    fault_rates: FaultRates
    kills_at_effects: tuple[int, ...] = field(default=())
    """The worker is killed right after the n-th effect of all: a save, a request, an order."""
    measures: bool = False
    """Whether memory is measured."""
    reuses_pids: bool = False
    overtaken: float = 0.0
    """How often another worker on the pool is faster with a run that ours is about to claim."""
    killed_when_ending: bool = False
    """Whether the worker is killed once when it has just decided to end a run."""
    listens: bool = True
    """Whether there is an event stream."""
    stream: StreamFaults = NO_FAULTS
    surprises: float = 0.0
    """How often what a supervisor waits for ends with an error that nobody has thought of."""
