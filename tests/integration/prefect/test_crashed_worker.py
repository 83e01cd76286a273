"""A worker that is killed in the middle of a run costs nothing: its successor tells the truth."""

from __future__ import annotations

from functools import partial

import pytest

from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until

LASTING = {"ACTOR_WORKER_EMBEDDED": "false"}


def executions(place: Place, run: str) -> int:
    """How many events tell that the run was executed."""
    kinds = [event["event"] for event in place.events_about(run)]
    return kinds.count("prefect.worker.executed-flow-run")


@pytest.mark.series
def test_the_successor_of_a_killed_worker_reports_the_real_exit_code(place: Place) -> None:
    gate = shell(
        'echo $$ > "$1"/pid; until [ -e "$1"/go ]; do sleep 0.1; done; exit 7', str(place.folder)
    )
    during, meanwhile = place.run(gate), place.run(gate.replace("/go", "/go-at-once"))
    with place.worker_program(variables=LASTING) as worker:
        for run in (during, meanwhile):
            place.log_once(run, "started.")
        worker.kill()
    (place.folder / "go-at-once").touch()
    with place.worker_program(variables=LASTING) as worker:
        assert "exited with code 7" in place.state_once(meanwhile)["message"]
        assert place.state(during)["type"] == "PENDING"
        (place.folder / "go").touch()
        assert "exited with code 7" in place.state_once(during)["message"]
        until(lambda: worker.printed.count('"run.settled"') == 2)
        worker.terminate()
        assert worker.ended() == 0
    for run in (during, meanwhile):
        assert place.admin.states_of(run) == ["SCHEDULED", "PENDING", "CRASHED"]
        assert until(partial(executions, place, run)) == 1
