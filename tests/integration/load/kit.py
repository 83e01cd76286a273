"""Questions about many runs at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Final

from tests.integration.prefect.kit import Place
from tests.integration.prefect.waiting import until

PAGE: Final = 200
"""Servers answer no more at once."""

STANDSTILL_SECONDS: Final = 180.0
"""Without a change in the state of any run: longer than a server freezes, on a busy machine."""

ON_THE_WAY: Final = frozenset({"SCHEDULED", "PENDING", "RUNNING"})


def states_of(place: Place, runs: Collection[str]) -> Counter[str]:
    """How many of the runs are in states of which type."""
    found: Counter[str] = Counter()
    ids = sorted(runs)
    for start in range(0, len(ids), PAGE):
        wanted = {"flow_runs": {"id": {"any_": ids[start : start + PAGE]}}, "limit": PAGE}
        answer = place.admin.request("POST", "/flow_runs/filter", wanted)
        found.update(run["state_type"] for run in answer)
    return found


def all_completed(place: Place, runs: Collection[str]) -> None:
    """Wait until all runs are completed, for as long as they get on; fails when one ends else."""
    states = states_of(place, runs)
    while states != {"COMPLETED": len(runs)}:
        assert set(states) <= ON_THE_WAY | {"COMPLETED"}, states
        states = _changed(place, runs, states)


def _changed(place: Place, runs: Collection[str], before: Counter[str]) -> Counter[str]:
    return until(
        lambda: states_of(place, runs),
        lambda now: now != before,
        patience=STANDSTILL_SECONDS,
    )
