"""Work pools and queues: made, filled, paused, missing, chosen, in their order."""

from __future__ import annotations

import socket
from functools import partial

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import SettingsError
from actors.job.configuration import default_base_job_template
from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until

EVERY_SERIES = pytest.mark.series()


def noting(place: Place, name: str) -> str:
    """A command that writes ``name`` into the file ``order``."""
    return shell('echo "$2" >> "$1"/order', str(place.folder), name)


def scheduled(place: Place, name: str, queue: str = "default") -> str:
    job = {"report_states": True}
    deployment = place.deploy(noting(place, name), work_queue_name=queue, job_variables=job)
    return place.admin.create_run(deployment)


@EVERY_SERIES
def test_a_missing_pool_is_created_with_the_default_template(bare_place: Place) -> None:
    place = bare_place
    with place.worker():
        until(
            lambda: place.admin.request("POST", "/work_pools/filter", {}),
            lambda pools: place.pool in [pool["name"] for pool in pools],
        )
    pool = place.read_pool()
    assert pool["type"] == "process"
    assert pool["base_job_template"] == default_base_job_template()


def test_a_missing_pool_is_created_with_the_given_template(bare_place: Place) -> None:
    place = bare_place
    given = default_base_job_template()
    given["variables"]["properties"]["env"]["default"] = {"OF": "the file"}
    with place.worker(base_job_template=given):
        until(
            lambda: place.admin.request("POST", "/work_pools/filter", {}),
            lambda pools: place.pool in [pool["name"] for pool in pools],
        )
    assert place.read_pool()["base_job_template"] == given


@EVERY_SERIES
def test_a_pool_without_a_template_is_filled_and_the_worker_is_online(place: Place) -> None:
    with place.worker():
        until(place.read_pool, lambda pool: pool["base_job_template"])
        workers = until(
            lambda: place.admin.request("POST", f"{place.pool_path}/workers/filter", {})
        )
    assert [worker["name"] for worker in workers] == [f"worker of {place.pool}"]
    assert place.read_pool()["base_job_template"] == default_base_job_template()


def test_a_worker_that_starts_again_is_the_same_worker_to_the_server(place: Place) -> None:
    path = f"{place.pool_path}/workers/filter"
    for _ in range(2):
        with place.worker(name=None):
            place.state_once(place.run("true", report_states=True))
            # a server that is busy takes a heartbeat late
            [known] = until(partial(place.admin.request, "POST", path, {}))
    assert known["name"].startswith(socket.gethostname())


def test_a_pool_that_may_not_be_created_is_asked_for_in_words_and_waited_for(
    bare_place: Place,
) -> None:
    place = bare_place
    with capture_logs() as logs, place.worker(create_pool_if_not_found=False):
        until(lambda: [log for log in logs if log["event"] == "pool.sync_failed"])
        place.create_pool()
        place.state_once(place.run("true", report_states=True))
    said = [log["error"] for log in logs if log["event"] == "pool.sync_failed"]
    assert [words for words in said if "may not be created" in words] == said[:1]


@EVERY_SERIES
def test_a_reserved_name_is_refused_in_words(bare_place: Place) -> None:
    place = bare_place
    place.pool = f"Prefect {place.pool}"
    with place.worker() as worker, pytest.raises(SettingsError, match="Choose another name"):
        worker.stopped()


def test_a_pool_for_another_type_of_worker_is_served_and_remarked(bare_place: Place) -> None:
    place = bare_place
    place.admin.create_pool(place.pool, type="docker")
    run = place.run("true", report_states=True)
    with capture_logs() as logs, place.worker():
        place.state_once(run)
    assert [log["actual"] for log in logs if log["event"] == "pool.type_mismatch"] == ["docker"]


def test_a_pool_that_is_deleted_comes_back_with_the_worker(place: Place) -> None:
    with place.worker(heartbeat_seconds=1.0):
        place.state_once(place.run("true", report_states=True))
        place.admin.request("DELETE", place.pool_path)
        until(
            lambda: place.admin.request("POST", "/work_pools/filter", {}),
            lambda pools: place.pool in [pool["name"] for pool in pools],
        )
        place.state_once(place.run("true", report_states=True))


def test_a_template_that_is_changed_is_used_from_the_next_poll_on(place: Place) -> None:
    changed = default_base_job_template()
    changed["variables"]["properties"]["env"]["default"] = {"OF": "a new template"}
    deployment = place.deploy(
        shell('echo "$OF" >> "$1"/seen', str(place.folder)), job_variables={"report_states": True}
    )

    def seen() -> list[str]:
        place.state_once(place.admin.create_run(deployment))
        return place.started_by("seen")[-1:]

    with place.worker(heartbeat_seconds=3600.0):
        assert seen() == [""]
        place.change_pool(base_job_template=changed)
        assert seen() == ["a new template"]


@EVERY_SERIES
def test_a_paused_pool_is_waited_for_and_said_once(place: Place) -> None:
    run = place.run("true", report_states=True)
    place.change_pool(is_paused=True)
    with capture_logs() as logs, place.worker(heartbeat_seconds=1.0):
        until(lambda: [log for log in logs if log["event"] == "pool.paused"])
        assert place.state(run)["type"] == "SCHEDULED"
        place.change_pool(is_paused=False)
        place.state_once(run)
    assert len([log for log in logs if log["event"] == "pool.paused"]) == 1


def test_a_paused_queue_is_waited_for_and_said_once(place: Place) -> None:
    place.create_queue("resting", is_paused=True)
    run = scheduled(place, "rested", "resting")
    with capture_logs() as logs, place.worker(heartbeat_seconds=1.0):
        place.state_once(scheduled(place, "other"))
        assert place.state(run)["type"] == "SCHEDULED"
        until(lambda: [log for log in logs if log["event"] == "pool.paused"])
        place.admin.request("PATCH", f"{place.pool_path}/queues/resting", {"is_paused": False})
        place.state_once(run)
    said = [log["queues"] for log in logs if log["event"] == "pool.paused"]
    assert said == [["resting"]]


@EVERY_SERIES
def test_queues_are_served_in_the_order_of_their_priority(place: Place) -> None:
    for name, priority in (("urgent", 1), ("normal", 2), ("idle", 3)):
        place.create_queue(name, priority=priority)
    runs = [scheduled(place, name, name) for name in ("idle", "normal", "urgent")]
    with place.worker(limit=1):
        for run in runs:
            place.state_once(run)
    assert place.started_by("order") == ["urgent", "normal", "idle"]


def test_only_the_chosen_queues_are_served(place: Place) -> None:
    for name in ("one", "two", "three"):
        place.create_queue(name)
    runs = {name: scheduled(place, name, name) for name in ("one", "two", "three")}
    with place.worker(work_queues=("one", "three")):
        place.state_once(runs["one"])
        place.state_once(runs["three"])
    assert place.state(runs["two"])["type"] == "SCHEDULED"


@EVERY_SERIES
def test_an_unknown_queue_is_tried_until_it_is_there_and_said_once(place: Place) -> None:
    with capture_logs() as logs, place.worker(work_queues=("later",)):
        until(lambda: [log for log in logs if log["event"] == "poll.failed"])
        place.create_queue("later")
        place.state_once(scheduled(place, "a run", "later"))
    assert len([log for log in logs if log["event"] == "poll.failed"]) == 1


@pytest.mark.parametrize(
    ("type_", "options", "words"),
    [
        ("process", ("--run-once", "--work-queue", "elsewhere"), "has no queue 'elsewhere'"),
        ("cloud-run:push", (), "needs no worker"),
        (None, ("--run-once", "--no-create-pool-if-not-found"), "may not be created"),
    ],
    ids=["unknown queue", "push pool", "missing pool"],
)
def test_a_worker_that_is_refused_does_not_say_that_it_has_started(
    bare_place: Place, type_: str | None, options: tuple[str, ...], words: str
) -> None:
    place = bare_place
    if type_ is not None:
        template = default_base_job_template()
        place.admin.create_pool(place.pool, type=type_, base_job_template=template)
    with place.worker_program(*options) as worker:
        assert worker.ended() != 0
    assert words in worker.printed
    assert "started!" not in worker.printed
    assert "stopped!" not in worker.printed
