"""Flows with real engines: every way in which one can end is the truth at the server."""

from __future__ import annotations

import socket
from datetime import timedelta

import pytest

from tests.integration.prefect.gallery import Gallery
from tests.integration.prefect.kit import moment

pytestmark = pytest.mark.series()


def test_a_flow_that_succeeds_is_completed(gallery: Gallery) -> None:
    picture = gallery["succeeds"]
    assert picture.types == ["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"]


def test_a_flow_that_fails_stays_failed_whatever_its_exit_code(gallery: Gallery) -> None:
    picture = gallery["fails"]
    assert picture.types == ["SCHEDULED", "PENDING", "RUNNING", "FAILED"]
    assert "as planned" in picture.history[-1]["message"]


def test_a_flow_that_cannot_be_imported_is_crashed_with_the_reason(gallery: Gallery) -> None:
    picture = gallery["raises_at_import"]
    assert picture.types == ["SCHEDULED", "PENDING", "CRASHED"]
    message = picture.history[-1]["message"]
    assert "code 1" in message
    assert "this module is broken" in message


def test_a_flow_that_is_killed_is_crashed_and_the_signal_is_named(gallery: Gallery) -> None:
    picture = gallery["is_killed"]
    assert picture.types == ["SCHEDULED", "PENDING", "RUNNING", "CRASHED"]
    assert "SIGKILL" in picture.history[-1]["message"]


def test_a_flow_that_is_terminated_is_crashed(gallery: Gallery) -> None:
    picture = gallery["is_terminated"]
    assert picture.types == ["SCHEDULED", "PENDING", "RUNNING", "CRASHED"]
    if gallery.place.server_series >= (3, 8):  # this engine reports its own end
        assert "termination signal" in picture.history[-1]["message"]
    else:
        assert "SIGTERM" in picture.history[-1]["message"]


@pytest.mark.parametrize("name", ["sleeps", "ignores_sigterm"])
def test_a_cancelled_flow_ends_cancelled_and_never_shows_crashed(
    gallery: Gallery, name: str
) -> None:
    types = gallery[name].types
    assert types[:4] == ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]
    assert set(types[4:]) <= {"CANCELLING", "CANCELLED"}
    assert types[-1] == "CANCELLED"


def test_cancelled_is_reported_once(gallery: Gallery) -> None:
    assert gallery["sleeps"].types.count("CANCELLED") == 1


def test_the_server_is_told_where_the_process_is(gallery: Gallery) -> None:
    for picture in gallery.pictures.values():
        host, _, pid = picture.run["infrastructure_pid"].rpartition(":")
        assert (host, pid.isdecimal()) == (socket.gethostname(), True)


def test_an_engine_starts_before_its_run_is_due_and_waits(gallery: Gallery) -> None:
    picture = gallery["succeeds"]
    states = {state["type"]: moment(state["timestamp"]) for state in picture.history}
    assert moment(picture.event("submitted")["occurred"]) < picture.due
    assert states["PENDING"] < picture.due
    # servers let an engine wait for whole seconds, and let it go in the last part of one
    assert states["RUNNING"] > picture.due - timedelta(seconds=1)


def test_runs_are_labelled_where_the_server_knows_labels(gallery: Gallery) -> None:
    place = gallery.place
    labels = gallery["succeeds"].run.get("labels") or {}
    if place.server_series == (3, 0):
        assert labels == {}
        return
    assert {name: value for name, value in labels.items() if "work" in name} == {
        "prefect.worker.name": f"worker of {place.pool}",
        "prefect.worker.type": "process",
        "prefect.work-pool.name": place.pool,
        "prefect.work-pool.id": place.read_pool()["id"],
    }


@pytest.mark.series
def test_what_an_engine_has_reported_counts_more_than_its_exit_code(gallery: Gallery) -> None:
    """Engines from 3.8.4 on send a receipt; of older ones the server's state decides."""
    picture = gallery["completes_and_exits_with_7"]
    assert picture.types[-1] == "COMPLETED"
    has_receipt = gallery.place.server_series >= (3, 8)
    [run] = [r for r in picture.event("executed")["related"] if "status-code" in str(r)]
    assert run["prefect.infrastructure.status-code"] == ("0" if has_receipt else "7")
    if has_receipt:
        gallery.place.log_once(picture.id, "(Completed), and that counts")
