"""Questions about many runs at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from tests.integration.prefect.kit import Place

PAGE = 200
"""Servers answer no more at once."""


def states_of(place: Place, runs: Collection[str]) -> Counter[str]:
    """How many of the runs are in states of which type."""
    found: Counter[str] = Counter()
    ids = sorted(runs)
    for start in range(0, len(ids), PAGE):
        wanted = {"flow_runs": {"id": {"any_": ids[start : start + PAGE]}}, "limit": PAGE}
        answer = place.admin.request("POST", "/flow_runs/filter", wanted)
        found.update(run["state_type"] for run in answer)
    return found
