"""The worker's remarks in the log of the flow run, as users read it in Prefect's pages."""

from __future__ import annotations

import logging
import socket

import pytest

from tests.integration.prefect.gallery import Gallery
from tests.integration.prefect.kit import Place, shell

pytestmark = pytest.mark.series()


def test_the_log_tells_of_the_process_and_its_end(gallery: Gallery) -> None:
    picture = gallery["is_killed"]
    log = gallery.place.run_log(picture.id)
    own = [
        line
        for line in gallery.place.admin.logs_of(picture.id)
        if line["name"] == "prefect.flow_runs.worker"
    ]
    host = socket.gethostname()
    name = f"worker of {gallery.place.pool}"
    assert log[0] == f"Worker {name!r} submitting flow run {picture.id!r} on host {host!r}."
    assert f"Process {picture.pid} started." in log
    assert any(str(picture.pid) in line and "SIGKILL" in line for line in log)
    assert "Reported this flow run as crashed." in log
    assert {line["flow_run_id"] for line in own} == {picture.id}


def test_the_log_tells_of_a_cancellation(gallery: Gallery) -> None:
    log = gallery.place.run_log(gallery["ignores_sigterm"].id)
    assert "Cancelling: ending the process and all it started." in log
    assert "Cancelled this flow run." in log


def test_remarks_can_be_kept_out_of_the_api(place: Place) -> None:
    run = place.run("true", report_states=True)
    with place.worker(variables={"PREFECT_LOGGING_TO_API_ENABLED": "false"}):
        place.state_once(run)
    assert place.run_log(run) == []


def test_remarks_below_prefects_logging_level_are_kept_out_of_the_api(place: Place) -> None:
    run = place.run(shell("exit 3"))
    with place.worker(variables={"PREFECT_LOGGING_LEVEL": "ERROR"}) as worker:
        place.state_once(run)
        worker.finish()
    levels = {line["level"] for line in place.admin.logs_of(run)}
    assert levels == {logging.ERROR}
