"""The server's event stream: runs are started and cancelled long before the next poll."""

from __future__ import annotations

import os

import pytest

from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until
from tests.support.fault_proxy import FaultProxy

EVERY_SERIES = pytest.mark.series()


@EVERY_SERIES
def test_a_run_is_started_and_cancelled_long_before_the_next_poll(place: Place) -> None:
    folder = str(place.folder)
    with place.worker_program("--query-seconds", "300") as worker:
        worker.said("events.connected")
        run = place.run(shell('sleep 600 & echo $! > "$1"/child; wait', folder))
        [child] = until(lambda: place.started_by("child"))
        place.admin.set_state(run, "CANCELLING", name="Cancelling")
        assert place.state_once(run)["type"] == "CANCELLED"
        until(lambda: not os.path.exists(f"/proc/{child}"))


@EVERY_SERIES
def test_runs_are_started_when_their_pool_or_queue_is_resumed(place: Place) -> None:
    place.create_queue("other")
    other = f"{place.pool_path}/queues/other"
    place.change_pool(is_paused=True)
    place.admin.request("PATCH", other, {"is_paused": True})
    with place.worker_program("--query-seconds", "300") as worker:
        worker.said("events.connected")
        first = place.admin.create_run(place.deploy(shell("true")))
        second = place.admin.create_run(
            place.deploy(shell("true"), work_queue_name="other"), work_queue_name="other"
        )
        place.change_pool(is_paused=False)
        until(lambda: place.state(first)["type"] != "SCHEDULED")
        assert place.state(second)["type"] == "SCHEDULED"
        place.admin.request("PATCH", other, {"is_paused": False})
        until(lambda: place.state(second)["type"] != "SCHEDULED")


def test_where_there_is_no_stream_it_is_said_once_and_polls_find_runs(
    place: Place, port: int
) -> None:
    with (
        FaultProxy(place.server.port, port) as proxy,
        place.worker_program("--query-seconds", "5", url=proxy.url) as worker,
    ):
        worker.said("events.disconnected")  # the proxy refuses websockets
        found_by_polls = place.run(shell("true"))
        until(lambda: place.state(found_by_polls)["type"] != "SCHEDULED")
        assert worker.printed.count("events.disconnected") == 1


def test_a_stream_that_is_cut_comes_back_by_itself(place: Place, port: int) -> None:
    with FaultProxy(place.server.port, port) as proxy:
        proxy.passes_websockets = True
        with place.worker_program("--query-seconds", "300", url=proxy.url) as worker:
            worker.said("events.connected")
            proxy.cut_websockets()
            missed = place.run(shell("true"))
            until(lambda: worker.printed.count("events.connected") == 2)
            until(lambda: place.state(missed)["type"] != "SCHEDULED")
            heard = place.run(shell("true"))
            until(lambda: place.state(heard)["type"] != "SCHEDULED")


def test_without_the_setting_only_polls_find_runs(place: Place) -> None:
    with place.worker_program("--no-event-stream") as worker:
        run = place.run(shell("true"))
        until(lambda: place.state(run)["type"] != "SCHEDULED")
        assert "events." not in worker.printed
