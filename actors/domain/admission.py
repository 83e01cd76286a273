"""Which due runs to claim, and how many to ask for."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from typing import Final

from .ids import FlowRunId
from .model import FlowRun

MAX_RUNS_PER_POLL: Final = 200
"""The server answers 422 to a larger limit (contract 5.1)."""

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


class Admission:
    """Remembers of runs that are not in hand any more why they are not to be claimed now.

    All times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._refused_at: dict[FlowRunId, float] = {}
        self._settled_at: dict[FlowRunId, float] = {}

    def settled(self, run_id: FlowRunId, *, was_refused: bool, now: float) -> None:
        """The run is not in hand any more; ``was_refused``: the server did not let us have it."""
        self._settled_at = _recent(self._settled_at, now)
        self._settled_at[run_id] = now
        if was_refused:
            self._refused_at[run_id] = now

    def refused(self, now: float) -> int:
        """How many runs a poll may bring that were refused lately."""
        self._refused_at = _recent(self._refused_at, now)
        return len(self._refused_at)

    def wanted(
        self,
        due: Iterable[FlowRun],
        *,
        in_hand: Container[FlowRunId],
        asked_at: float,
        now: float,
    ) -> list[FlowRun]:
        """The runs to claim, in the server's order, but what it refused before comes last.

        Else two runs of a deployment with no room would take turns at the only slot for ever.
        ``asked_at`` is when the poll was sent: a run that was settled since is on its list by
        mistake.
        """
        fresh = {
            run.id: run
            for run in due
            if run.id not in in_hand
            and self._refused_at.get(run.id, -math.inf) <= now - HELD_BACK_SECONDS
            and self._settled_at.get(run.id, -math.inf) < asked_at
        }
        return sorted(fresh.values(), key=lambda run: self._refused_at.get(run.id, -math.inf))


def _recent(times: dict[FlowRunId, float], now: float) -> dict[FlowRunId, float]:
    return {run: at for run, at in times.items() if at > now - REMEMBERED_SECONDS}
