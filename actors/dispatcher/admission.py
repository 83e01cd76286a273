"""Which due runs to claim, and how many to ask for."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from ..domain.ids import DeploymentId, FlowRunId
from ..domain.model import FlowRun
from ..domain.process import MemorySample
from ..messages.dispatcher import MAX_RUNS_PER_POLL, Capacity, DueRuns, Share

HELD_BACK_SECONDS: Final = 15.0
"""How long a run that the server refused is not claimed again, though polls may bring it."""

REMEMBERED_SECONDS: Final = 600.0
"""How long such a run comes after all others."""

MEMORY_RELIEF_PERCENT: Final = 2.0
"""How far below its threshold a shortage ends, so that it does not flicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the active runs take up."""

    run_ids: frozenset[FlowRunId] = frozenset()
    claimed_ids: frozenset[FlowRunId] = frozenset()
    """Those that the server has given to us."""
    open_claims: int = 0
    """Claims that the server has not answered yet."""
    slots_in_use: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The runs to claim; ``limit_reached``: this is the first poll that brought too many."""

    runs: list[FlowRun]
    limit_reached: bool


class AdmissionControl:
    """Owns: what keeps runs out, which is the limit, a lack of memory and the server's refusals.

    ``limit`` is how many runs may hold a slot, None: any number. ``memory_pause_percent`` of the
    machine's memory in use admit no more runs. ``now`` is always a time of one monotonic clock in
    seconds.
    """

    def __init__(self, *, limit: int | None, memory_pause_percent: float) -> None:
        self._limit = limit
        self.memory_pause_percent = memory_pause_percent
        self._refused_at: dict[FlowRunId, float] = {}
        self._settled_at: dict[FlowRunId, float] = {}
        self._full_deployments: frozenset[DeploymentId] = frozenset()
        self.offered_again: frozenset[FlowRunId] = frozenset()
        """Runs that are ours, but on the server's list again, as of the last poll."""
        self.is_short_of_memory = False
        self.left_some_waiting = False
        """Whether the last poll brought more runs than could be admitted."""
        self.left_promising_waiting = False
        """Whether the server is expected to let us have some of those."""

    def capacity(self, usage: Usage, *, now: float) -> Capacity:
        """What to tell the Poller before it polls.

        The server also lists claims under way and runs that are held back since it refused them.
        They come on top of the free slots, or they would crowd out the runs behind them. At least
        one run is asked for: a poll also shows the server that its queues are served.
        """
        slots_free = self.slots_free(usage)
        self._refused_at = _recent(self._refused_at, now)
        not_admitted = usage.open_claims + len(self._refused_at) + len(self.offered_again)
        enough = MAX_RUNS_PER_POLL if slots_free is None else min(slots_free, MAX_RUNS_PER_POLL)
        return Capacity(
            enough=enough,
            ask_for=max(1, min(enough + not_admitted, MAX_RUNS_PER_POLL)),
            known=usage.run_ids.union(self._refused_at),
            full_deployments=self._full_deployments,
        )

    def slots_free(self, usage: Usage) -> int | None:
        """How many runs may be admitted; None: any number."""
        if self.is_short_of_memory:
            return 0
        return None if self._limit is None else max(0, self._limit - usage.slots_in_use)

    def measured(self, sample: MemorySample) -> bool:
        """Note how much memory is in use. Returns whether admission is paused or resumed by it."""
        was_short = self.is_short_of_memory
        relief = MEMORY_RELIEF_PERCENT if was_short else 0.0
        self.is_short_of_memory = sample.host_percent >= self.memory_pause_percent - relief
        return was_short != self.is_short_of_memory

    def settled(self, run_id: FlowRunId, *, was_refused: bool, now: float) -> None:
        """Note that a run is over for us; ``was_refused``: the server did not let us have it."""
        self._settled_at = _recent(self._settled_at, now)
        self._settled_at[run_id] = now
        if was_refused:
            self._refused_at[run_id] = now

    def candidates(self, due: DueRuns, usage: Usage, *, now: float) -> list[FlowRun]:
        """The runs to claim if there is room: first the promising ones, in the server's order.

        Then others of deployments that are full, last what was refused, longest ago first. Else
        the runs of a deployment with no room would take turns at the only slot for ever. A run
        that was settled since the poll was sent is listed by mistake.
        """
        never = -math.inf
        listed = {
            run.id: run for run in due.runs if self._settled_at.get(run.id, never) < due.asked_at
        }
        self._full_deployments = frozenset(
            run.deployment_id
            for run in listed.values()
            if run.id in self._refused_at and run.deployment_id is not None
        )
        candidates = [
            run
            for run in listed.values()
            if run.id not in usage.run_ids
            and self._refused_at.get(run.id, never) <= now - HELD_BACK_SECONDS
        ]
        return sorted(
            candidates,
            key=lambda run: (not self._is_promising(run), self._refused_at.get(run.id, never)),
        )

    def admit(self, due: DueRuns, usage: Usage, *, now: float) -> Admitted:
        """Choose the runs to claim of those that a poll brought."""
        self.offered_again = usage.claimed_ids.intersection(run.id for run in due.runs)
        candidates = self.candidates(due, usage, now=now)
        allowed = within_shares(due.shares, candidates, usage.run_ids)
        slots_free = self.slots_free(usage)
        are_too_many = slots_free is not None and len(allowed) > slots_free
        limit_reached = are_too_many and not self.left_some_waiting and not self.is_short_of_memory
        admitted = allowed[:slots_free]
        waiting = [run for run in candidates if run not in admitted]
        self.left_some_waiting = bool(waiting)
        self.left_promising_waiting = any(map(self._is_promising, waiting))
        return Admitted(runs=admitted, limit_reached=limit_reached)

    def _is_promising(self, run: FlowRun) -> bool:
        return run.id not in self._refused_at and run.deployment_id not in self._full_deployments


def within_shares(
    shares: Iterable[Share], runs: list[FlowRun], active: Container[FlowRunId]
) -> list[FlowRun]:
    """The first of ``runs`` for which all ``shares`` have room.

    A run that is active and listed all the same is being claimed: it takes room.
    """
    for share in shares:
        room = share.room - sum(run in active for run in share.runs)
        theirs = [run.id for run in runs if run.id in share.runs]
        too_many = frozenset(theirs[max(0, room) :])
        runs = [run for run in runs if run.id not in too_many]
    return runs


def _recent(times: dict[FlowRunId, float], now: float) -> dict[FlowRunId, float]:
    return {run: at for run, at in times.items() if at > now - REMEMBERED_SECONDS}
