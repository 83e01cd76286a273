"""The case to win: 200 runs due at once on a server with SQLite, and a worker without a limit.

Such a server takes one write at a time and answers 503 to whoever waits too long. Workers that
press on lose claims and leave runs Pending. ``python -m tests.benchmarks.peer --flows --apart 0``
does the same with real flows, beside Prefect's worker.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.integration.load.kit import all_completed
from tests.integration.prefect.kit import Place, shell

pytestmark = pytest.mark.slow

RUNS = 200


@pytest.mark.timeout(3600)
@pytest.mark.series("3.9", "3.1")
def test_two_hundred_runs_due_at_once_all_run_once(place: Place) -> None:
    script = shell('echo $PREFECT__FLOW_RUN_ID >> "$1"/ran', str(place.folder))
    deployment = place.deploy(script, job_variables={"report_states": True})
    runs = {place.admin.create_run(deployment) for _ in range(RUNS)}
    with place.worker():
        all_completed(place, runs)
    assert Counter(place.started_by("ran")) == Counter(runs)
