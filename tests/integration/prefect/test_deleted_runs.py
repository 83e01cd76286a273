"""A run that is deleted at the server while its process is at work."""

from __future__ import annotations

import pytest

from tests.integration.keeper.kit import ended
from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until


@pytest.mark.series
def test_what_a_deleted_run_started_is_ended(place: Place) -> None:
    run = place.run(shell('sleep 1000 & echo $$ $! > "$1"/pids; wait', str(place.folder)))
    with place.worker(limit=1):
        [pids] = until(lambda: place.started_by("pids"))
        place.admin.request("DELETE", f"/flow_runs/{run}")
        assert all(ended(int(pid)) for pid in pids.split())
        other = place.run("true", report_states=True)
        assert place.state_once(other)["type"] == "COMPLETED"
