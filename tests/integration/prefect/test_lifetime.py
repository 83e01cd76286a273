"""The worker's own life: once, health, stopping, a dead server, a late one, one that goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.prefect.conftest import cleanly
from tests.integration.prefect.kit import Place, get, shell
from tests.integration.prefect.waiting import PATIENCE, until
from tests.support.ports import held_port
from tests.support.prefect_server import NEWEST, PrefectServer, interpreter

EVERY_SERIES = pytest.mark.series()

NOBODY = "http://127.0.0.1:9/api"
"""Port 9 is discard's: nothing listens there."""


@EVERY_SERIES
def test_run_once_runs_what_is_due_and_ends_well(place: Place) -> None:
    runs = [place.run("true", report_states=True), place.run(shell("sleep 0.5; exit 3"))]
    with place.worker_program("--run-once") as worker:
        assert worker.ended() == 0
    assert [place.state(run)["type"] for run in runs] == ["COMPLETED", "CRASHED"]
    assert "started!" in worker.printed
    assert "stopped!" in worker.printed


def test_run_once_with_nothing_due_ends_well(place: Place) -> None:
    with place.worker_program("--run-once") as worker:
        assert worker.ended() == 0


def test_run_once_against_a_dead_server_ends_with_an_error_in_words(place: Place) -> None:
    with place.worker_program("--run-once", url=NOBODY) as worker:
        assert worker.ended() == 1
    assert "Error:" in worker.printed
    assert NOBODY in worker.printed
    assert "started!" not in worker.printed
    assert "Traceback" not in worker.printed


def test_the_health_server_answers_as_the_peers_does(place: Place, port: int) -> None:
    settings = {
        "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
        "PREFECT_WORKER_WEBSERVER_PORT": str(port),
    }
    url = f"http://127.0.0.1:{port}"
    with place.worker_program("--with-healthcheck", variables=settings):
        until(lambda: get(f"{url}/ready"), lambda answer: answer == (200, {"message": "OK"}))
        assert get(f"{url}/health") == (200, {"message": "OK"})
        assert get(f"{url}/") == (404, {"detail": "Not Found"})
        assert get(f"{url}/status") == (404, {"detail": "Not Found"})


def test_health_is_answered_while_the_api_is_away(place: Place, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    options = ["--health-host", "127.0.0.1", "--health-port", str(port)]
    # 30 polls may be missed: 1.5 s at this rhythm
    options += ["--with-healthcheck", "--query-seconds", "0.05"]
    sick = (503, {"message": "Worker may be unresponsive at this time"})
    with place.worker_program(*options, url=NOBODY):
        until(lambda: get(f"{url}/ready"), lambda answer: answer == sick)
        until(lambda: get(f"{url}/health"), lambda answer: answer == sick)


def test_a_worker_that_is_told_to_stop_waits_for_its_runs(place: Place) -> None:
    run = place.run(
        shell('touch "$1"/started; until [ -e "$1"/go ]; do sleep 0.1; done', str(place.folder)),
        report_states=True,
    )
    with place.worker_program() as worker:
        until(lambda: (place.folder / "started").exists())
        worker.terminate()
        worker.said("worker.draining")
        late = place.run("true", report_states=True)
        (place.folder / "go").touch()
        assert worker.ended() == 0
    assert place.state(run)["type"] == "COMPLETED"
    assert place.state(late)["type"] == "SCHEDULED"
    assert "stopped!" in worker.printed


def test_every_line_of_the_log_is_json_and_tells_whose_it_is(place: Place) -> None:
    run = place.run(shell("echo a line"), report_states=True)
    with place.worker_program() as worker:
        place.state_once(run)
        worker.terminate()
        assert worker.ended() == 0
    lines = [json.loads(line) for line in worker.printed.splitlines()]
    assert {line["pool"] for line in lines if "pool" in line} == {place.pool}
    assert [line["flow_run_id"] for line in lines if line["event"] == "run.output"] == [run]


# -- servers that come and go --------------------------------------------------------------------


@pytest.fixture
def fickle(tmp_path: Path) -> Iterator[Place]:
    """A server of the test's own that is not there yet; its port is known."""
    python = interpreter(NEWEST)
    if python is None:
        pytest.skip(f"no interpreter has Prefect {NEWEST}")
    (tmp_path / "worker").mkdir()
    with held_port() as port:
        server = PrefectServer(python, tmp_path / "server", port=port)
        try:
            with cleanly(Place(server, tmp_path / "worker")) as place:
                yield place
        finally:
            server.stop()


@pytest.mark.slow
def test_a_run_that_ends_while_the_server_is_away_for_a_minute_is_reported(fickle: Place) -> None:
    """With Prefect's own retries, which take more than a minute until one gives up."""
    place = fickle
    place.server.start()
    place.create_pool()
    gate = shell(
        'echo $$ > "$1"/pid; until [ -e "$1"/go ]; do sleep 0.1; done; exit 5', str(place.folder)
    )
    run = place.run(gate)
    with place.worker_program() as worker:
        until(lambda: place.started_by("pid"))
        place.log_once(run, "started.")
        place.server.stop()
        (place.folder / "go").touch()
        worker.said('"code": 5')
        given_up = ("run.delayed", "run_logs.delayed", "events.delayed", "poll.failed")
        until(
            lambda: worker.printed,
            lambda printed: all(words in printed for words in given_up),
            patience=3 * PATIENCE,
        )
        place.server.start()
        state = place.state_once(run, patience=3 * PATIENCE)
        assert (state["type"], "exited with code 5" in state["message"]) == ("CRASHED", True)
        place.log_once(run, "exited with code 5")
        kinds = until(
            lambda: [event["event"] for event in place.events_about(run)],
            lambda kinds: "prefect.worker.executed-flow-run" in kinds,
        )
        assert kinds.count("prefect.worker.executed-flow-run") == 1
        assert place.history(run)[-1]["type"] == "CRASHED"


def test_a_worker_outlives_a_server_that_comes_late_and_one_that_goes(
    fickle: Place, port: int
) -> None:
    place = fickle
    options = ["--with-healthcheck", "--health-host", "127.0.0.1", "--health-port", str(port)]
    gate = shell(
        'echo $$ > "$1"/pid; until [ -e "$1"/go ]; do sleep 0.1; done; exit 5', str(place.folder)
    )
    # found again within seconds, not within the minute that the retry ladder takes by default
    hasty = {"PREFECT_CLIENT_MAX_RETRIES": "1"}
    with place.worker_program(*options, variables=hasty) as worker:
        worker.said("pool.sync_failed")
        assert get(f"http://127.0.0.1:{port}/health")[0] == 200
        assert get(f"http://127.0.0.1:{port}/ready")[0] == 503
        place.server.start()
        until(lambda: get(f"http://127.0.0.1:{port}/ready"), lambda answer: answer[0] == 200)
        run = place.run(gate)
        until(lambda: place.started_by("pid"))
        place.log_once(run, "started.")
        place.server.stop()
        worker.said("poll.failed")
        (place.folder / "go").touch()
        worker.said('"code": 5')
        place.server.start()
        state = place.state_once(run)
        assert state["type"] == "CRASHED"
        assert "exited with code 5" in state["message"]
        kinds = until(
            lambda: [event["event"] for event in place.events_about(run)],
            lambda kinds: "prefect.worker.executed-flow-run" in kinds,
        )
        assert kinds.count("prefect.worker.executed-flow-run") == 1
        place.log_once(run, "exited with code 5")
        after = place.run("true", report_states=True)
        assert place.state_once(after)["type"] == "COMPLETED"
