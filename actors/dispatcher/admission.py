"""Which due runs to claim, and how many to ask for."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from ..domain.ids import DeploymentId, FlowRunId
from ..domain.model import FlowRun

MAX_RUNS_PER_POLL: Final = 200
"""The server answers 422 to a larger limit."""

HELD_BACK_SECONDS: Final = 15.0
"""How long a run that the server refused is not claimed again, though polls may bring it."""

REMEMBERED_SECONDS: Final = 600.0
"""How long such a run comes after all others."""


def runs_to_ask_for(free_slots: int | None, passed_over: int) -> int:
    """The limit to poll with, given the free slots (None: no limit).

    ``passed_over`` counts the runs that the server will list although they will not be admitted:
    claims under way, and runs held back since they were refused. They come on top, or they would
    crowd out the runs behind them. Never 0: a poll also tells the server that its queues are
    being served, slots or not.
    """
    if free_slots is None:
        return MAX_RUNS_PER_POLL
    return max(1, min(free_slots + passed_over, MAX_RUNS_PER_POLL))


def runs_to_look_for(free_slots: int | None) -> int:
    """How many promising runs are enough for one poll."""
    return MAX_RUNS_PER_POLL if free_slots is None else min(free_slots, MAX_RUNS_PER_POLL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """At most ``room`` of ``runs`` may be claimed, by a limit of the work pool or of a queue."""

    runs: frozenset[FlowRunId]
    room: int


class Admission:
    """Remembers which runs the server refused, and orders those that wait by it.

    All times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._refused_at: dict[FlowRunId, float] = {}
        self._settled_at: dict[FlowRunId, float] = {}
        self.full_deployments: frozenset[DeploymentId] = frozenset()
        """Deployments with runs that were refused, and are due all the same."""

    def settled(self, run_id: FlowRunId, *, was_refused: bool, now: float) -> None:
        """The run is not in hand any more; ``was_refused``: the server did not let us have it."""
        self._settled_at = _recent(self._settled_at, now)
        self._settled_at[run_id] = now
        if was_refused:
            self._refused_at[run_id] = now

    def refused(self, now: float) -> frozenset[FlowRunId]:
        """The runs that were refused lately: a poll may bring them."""
        self._refused_at = _recent(self._refused_at, now)
        return frozenset(self._refused_at)

    def is_promising(self, run: FlowRun) -> bool:
        """Whether nothing is known that speaks against a claim."""
        return run.id not in self._refused_at and run.deployment_id not in self.full_deployments

    def wanted(
        self,
        due: Iterable[FlowRun],
        *,
        in_hand: Container[FlowRunId],
        asked_at: float,
        now: float,
    ) -> list[FlowRun]:
        """The runs to claim: first the promising ones, in the server's order.

        Then others of deployments that are full, last what was refused, longest ago first. Else
        the runs of a deployment with no room would take turns at the only slot for ever.
        ``asked_at`` is when the poll was sent: a run that was settled since is on its list by
        mistake.
        """
        listed = {run.id: run for run in due if self._settled_at.get(run.id, -math.inf) < asked_at}
        refused = [run for run in listed.values() if run.id in self._refused_at]
        self.full_deployments = frozenset(
            run.deployment_id for run in refused if run.deployment_id is not None
        )
        candidates = [
            run
            for run in listed.values()
            if run.id not in in_hand
            and self._refused_at.get(run.id, -math.inf) <= now - HELD_BACK_SECONDS
        ]
        return sorted(candidates, key=self._rank)

    def _rank(self, run: FlowRun) -> tuple[bool, float]:
        return not self.is_promising(run), self._refused_at.get(run.id, -math.inf)


def within(
    shares: Iterable[Share], runs: list[FlowRun], in_hand: Container[FlowRunId]
) -> list[FlowRun]:
    """The first of ``runs`` for which all ``shares`` have room.

    A run that is in hand and listed all the same is being claimed: it takes room.
    """
    for share in shares:
        room = share.room - sum(run in in_hand for run in share.runs)
        theirs = [run.id for run in runs if run.id in share.runs]
        too_many = frozenset(theirs[max(0, room) :])
        runs = [run for run in runs if run.id not in too_many]
    return runs


def _recent(times: dict[FlowRunId, float], now: float) -> dict[FlowRunId, float]:
    return {run: at for run, at in times.items() if at > now - REMEMBERED_SECONDS}
