"""A flow whose process ends before the flow is over: who can go on with it, and who cannot."""

from __future__ import annotations

import pytest

from tests.integration.prefect.kit import Place
from tests.integration.prefect.waiting import until


def scheduled(place: Place, flow: str) -> str:
    job = {"env": {"NOTES": str(place.folder)}}
    return place.admin.create_run(place.deploy_flow(flow), job_variables=job)


@pytest.mark.series("3.1", "3.8", "3.9")
def test_a_process_that_dies_while_it_waits_for_a_retry_is_the_end_of_its_run(
    place: Place,
) -> None:
    """Nobody else can end it: from 3.1.3 on such a run is offered to no worker."""
    run = scheduled(place, "waits_for_its_retry")
    with place.worker():
        until(lambda: place.state(run)["name"] == "AwaitingRetry")
        (place.folder / f"die-{run}").touch()
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert "SIGKILL" in state["message"]


@pytest.mark.series
def test_a_run_that_suspended_stays_so_whatever_its_exit_code(place: Place) -> None:
    run = scheduled(place, "suspends_and_exits_with_7")
    with place.worker() as worker:
        until(lambda: place.state(run)["name"] == "Suspended")
        worker.finish()
    assert place.state(run)["name"] == "Suspended"
    if place.server_series >= (3, 8):
        place.log_once(run, "(Suspended), and that counts")
