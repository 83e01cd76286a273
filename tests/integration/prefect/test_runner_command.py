"""Runs of ``prefect flow-run execute``, which is Prefect's runner and cancels by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.prefect.kit import Place
from tests.integration.prefect.waiting import until

pytestmark = pytest.mark.series()


def run_by_runner(place: Place, flow: str) -> str:
    """A due run of the flow; its runner asks the server every second what to cancel."""
    env = {"NOTES": str(place.folder), "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    prefect = Path(place.python).with_name("prefect")
    job = {"command": f"{prefect} flow-run execute", "env": env}
    return place.admin.create_run(place.deploy_flow(flow, job_variables=job))


@pytest.mark.parametrize(
    ("flow", "types"),
    [
        ("succeeds", ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]),
        ("fails", ["SCHEDULED", "PENDING", "RUNNING", "FAILED"]),
        ("is_killed", ["SCHEDULED", "PENDING", "RUNNING", "CRASHED"]),
    ],
)
def test_it_ends_as_its_flow_does(place: Place, flow: str, types: list[str]) -> None:
    run = run_by_runner(place, flow)
    with place.worker() as worker:
        place.state_once(run)
        worker.finish()
    assert place.admin.states_of(run) == types


def test_it_is_cancelled_by_its_runner_and_frees_its_slot(place: Place) -> None:
    run = run_by_runner(place, "sleeps")
    next_run = place.admin.create_run(place.deploy("true", job_variables={"report_states": True}))
    with place.worker(limit=1):
        until(lambda: place.started_by(f"body-{run}"))
        _, _, pid = place.admin.read_run(run)["infrastructure_pid"].rpartition(":")
        place.admin.set_state(run, "CANCELLING", name="Cancelling", message="enough")
        place.state_once(run)
        assert place.state_once(next_run)["type"] == "COMPLETED"
        assert not os.path.exists(f"/proc/{pid}")
    types = place.admin.states_of(run)
    assert types == ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "CANCELLED"]
