"""A run that is suspended and resumed from outside while its process is at work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.prefect.kit import Place
from tests.integration.prefect.waiting import until

PROGRAM = """
import os, time
from prefect import flow

@flow
def starts_twice():
    notes = os.environ["NOTES"]
    with open(f"{notes}/starts", "a") as starts:
        print(os.getpid(), file=starts)
    if len(open(f"{notes}/starts").readlines()) == 1:
        while not os.path.exists(f"{notes}/end"):
            time.sleep(0.1)
        os._exit(0)
"""


@pytest.mark.series("3.1", "3.9")
@pytest.mark.parametrize("limit", [None, 5])
def test_it_gets_no_second_process_beside_the_first_one(place: Place, limit: int | None) -> None:
    (place.folder / "flows.py").write_text(PROGRAM)
    deployment = place.deploy(
        flow_id=place.admin.create_flow("starts-twice"),
        entrypoint="flows.py:starts_twice",
        job_variables={"working_dir": str(place.folder), "env": {"NOTES": str(place.folder)}},
    )
    run = place.admin.create_run(deployment)
    with place.worker(limit=limit):
        [first] = until(lambda: place.started_by("starts"))
        suspend_and_resume(place, run)
        place.log_once(run, "scheduled again while its process")
        assert place.started_by("starts") == [first]
        assert Path(f"/proc/{first}").exists()
        (place.folder / "end").touch()
        assert place.state_once(run)["type"] == "COMPLETED"
        assert len(place.started_by("starts")) == 2
        said = [line for line in place.run_log(run) if "scheduled again while" in line]
        assert len(said) == 1


def suspend_and_resume(place: Place, run: str) -> None:
    details = {
        "pause_reschedule": True,
        "pause_timeout": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "pause_key": "1",
    }
    suspended = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    place.admin.request("POST", f"/flow_runs/{run}/set_state", {"state": suspended})
    assert place.state(run)["name"] == "Suspended"
    place.admin.request("POST", f"/flow_runs/{run}/resume", {"run_input": None})
    assert place.state(run)["name"] == "Resuming"
