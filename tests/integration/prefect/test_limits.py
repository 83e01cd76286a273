"""Slots: of the worker, of deployments; and two workers that share a pool."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack

import pytest

from tests.integration.load.kit import all_completed
from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until

EVERY_SERIES = pytest.mark.series()


@EVERY_SERIES
def test_never_more_runs_at_a_time_than_the_limit(place: Place) -> None:
    script = 'echo + >> "$1"/slots; sleep 0.3; echo - >> "$1"/slots'
    deployment = place.deploy(
        shell(script, str(place.folder)), job_variables={"report_states": True}
    )
    runs = [place.admin.create_run(deployment) for _ in range(5)]
    with place.worker(limit=2):
        for run in runs:
            assert place.state_once(run)["type"] == "COMPLETED"
    taken = highest = 0
    for sign in place.started_by("slots"):
        taken += 1 if sign == "+" else -1
        highest = max(highest, taken)
    assert taken == 0
    assert highest <= 2  # a busy server may start them one by one


@EVERY_SERIES
def test_a_slot_is_free_again_after_every_kind_of_end(place: Place) -> None:
    ends = {
        "no such command": place.run("no-such-command"),
        "no such block": place.run("true", env={"A": "{{ prefect.blocks.secret.no-such }}"}),
        "bad directory": place.run("true", working_dir="/no/such/folder"),
        "failed": place.run("false"),
        "killed": place.run(shell("kill -9 $$")),
        "timed out": place.run("sleep 600", timeout_seconds=0.5),
        "left pending": place.run("true"),
    }
    waits = 'echo $$ > "$1/$2"; until [ -e "$1/go-$2" ]; do sleep 0.1; done; exit 3'
    ended = {
        name: place.run(shell(waits, str(place.folder), name)) for name in ("cancelled", "deleted")
    }
    with place.worker(limit=1):
        for name in set(ends) - {"left pending"}:
            assert place.state_once(ends[name])["type"] == "CRASHED", name
        place.log_once(ends["left pending"], "stays Pending")
        until(lambda: place.started_by("cancelled"))
        place.admin.set_state(ended["cancelled"], "CANCELLING", name="Cancelling")
        assert place.state_once(ended["cancelled"])["type"] == "CANCELLED"
        until(lambda: place.started_by("deleted"))
        place.admin.request("DELETE", f"/flow_runs/{ended['deleted']}")
        (place.folder / "go-deleted").touch()
        assert place.state_once(place.run("true", report_states=True))["type"] == "COMPLETED"


@pytest.mark.series("3.9", "3.1")
def test_runs_that_the_deployments_limit_holds_back_do_not_starve_others(place: Place) -> None:
    gate = shell(
        'echo 1 >> "$1"/started; until [ -e "$1"/go ]; do sleep 0.1; done', str(place.folder)
    )
    limited = place.deploy(gate, job_variables={"report_states": True}, concurrency_limit=1)
    held = [place.admin.create_run(limited) for _ in range(4)]
    with place.worker(limit=2):
        until(lambda: place.started_by("started"))
        free = place.run("true", report_states=True)
        assert place.state_once(free)["type"] == "COMPLETED"
        (place.folder / "go").touch()
        until(lambda: [run for run in held if place.state(run)["type"] == "COMPLETED"])


@pytest.mark.slow
@pytest.mark.series("3.9", "3.1")
def test_a_run_behind_hundreds_that_are_held_back_starts(place: Place) -> None:
    """A limit of 0 keeps runs at the head of every poll, and a poll brings 200 at most."""
    off = place.deploy("true", concurrency_limit=1)
    place.admin.switch_off(off)
    place.admin.create_runs(off, 1000 if place.server_series >= (3, 8) else 250)
    free = place.run("true", report_states=True)
    with place.worker(limit=2):
        assert place.state_once(free, patience=180)["type"] == "COMPLETED"


@pytest.mark.series("3.9", "3.1")
@pytest.mark.parametrize("limited", ["pool", "queue"])
def test_a_run_that_is_held_back_does_not_stop_a_pool_or_queue_with_a_limit_of_one(
    place: Place, limited: str
) -> None:
    place.create_queue("narrow", concurrency_limit=1 if limited == "queue" else None)
    if limited == "pool":
        place.change_pool(concurrency_limit=1)
    off = place.deploy("true", concurrency_limit=1, work_queue_name="narrow")
    place.admin.switch_off(off)
    place.admin.create_run(off)
    script = 'echo + >> "$1"/slots; sleep 0.3; echo - >> "$1"/slots'
    job = {"report_states": True}
    deployment = place.deploy(
        shell(script, str(place.folder)), job_variables=job, work_queue_name="narrow"
    )
    runs = [place.admin.create_run(deployment) for _ in range(3)]
    with place.worker():
        for run in runs:
            assert place.state_once(run, patience=180)["type"] == "COMPLETED"
    assert place.started_by("slots") == ["+", "-"] * 3


@pytest.mark.series("3.9", "3.1")
def test_a_full_deployment_puts_runs_off_until_a_slot_is_free(place: Place) -> None:
    script = 'echo + >> "$1"/slot; until [ -e "$1"/go ]; do sleep 0.1; done; echo - >> "$1"/slot'
    gate = shell(script, str(place.folder))
    deployment = place.deploy(gate, job_variables={"report_states": True}, concurrency_limit=1)
    runs = [place.admin.create_run(deployment) for _ in range(2)]
    with place.worker():
        until(
            lambda: [place.state(run)["name"] for run in runs],
            lambda names: sorted(names) == ["AwaitingConcurrencySlot", "Running"],
        )
        assert place.started_by("slot") == ["+"]
        [running] = [run for run in runs if place.state(run)["name"] == "Running"]
        [waiting] = set(runs) - {running}
        leased = [
            state
            for state in place.history(running)
            if state["state_details"].get("deployment_concurrency_lease_id")
        ]
        assert bool(leased) == (place.server_series >= (3, 8))
        (place.folder / "go").touch()
        assert place.state_once(running)["type"] == "COMPLETED"
        assert place.state_once(waiting)["type"] == "COMPLETED"
    assert place.started_by("slot") == ["+", "-", "+", "-"]


@pytest.mark.series("3.0")
def test_servers_before_3_0_4_leave_limits_to_workers_and_none_of_them_keeps_them(
    place: Place,
) -> None:
    """Prefect's worker of those days made the limit inactive: nothing was kept."""
    both = 'echo 1 >> "$1"/in; until [ $(wc -l < "$1"/in) = 2 ]; do sleep 0.1; done'
    job = {"report_states": True}
    limited = place.deploy(shell(both, str(place.folder)), job_variables=job, concurrency_limit=1)
    runs = [place.admin.create_run(limited) for _ in range(2)]
    with place.worker():
        for run in runs:
            assert place.state_once(run)["type"] == "COMPLETED"


@pytest.mark.series("3.9", "3.1")
def test_a_full_deployment_cancels_new_runs_when_it_is_told_to(place: Place) -> None:
    gate = shell(
        'echo 1 >> "$1"/started; until [ -e "$1"/go ]; do sleep 0.1; done', str(place.folder)
    )
    deployment = place.deploy(
        gate,
        job_variables={"report_states": True},
        concurrency_limit=1,
        concurrency_options={"collision_strategy": "CANCEL_NEW"},
    )
    runs = [place.admin.create_run(deployment) for _ in range(2)]
    with place.worker():
        until(
            lambda: sorted(place.state(run)["type"] for run in runs),
            lambda types: types == ["CANCELLED", "RUNNING"],
        )
        (place.folder / "go").touch()
        until(
            lambda: sorted(place.state(run)["type"] for run in runs),
            lambda types: types == ["CANCELLED", "COMPLETED"],
        )
    assert place.started_by("started") == ["1"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_workers_share_a_hundred_runs_none_twice_none_lost(place: Place) -> None:
    script = shell('echo $PREFECT__FLOW_RUN_ID >> "$1"/runs', str(place.folder))
    deployment = place.deploy(script, job_variables={"report_states": True})
    runs = {place.admin.create_run(deployment) for _ in range(100)}
    with ExitStack() as workers:
        for name in ("one", "two"):
            workers.enter_context(place.worker(name=name, state_dir=place.folder / name, limit=10))
        all_completed(place, runs)
    started = Counter(place.started_by("runs"))
    twice = {run: place.history(run) for run, times in started.items() if times > 1}
    assert twice == {}
    assert set(started) == runs
