"""Cancelling: one's own run, an adopted one, and those of which only the server knows."""

from __future__ import annotations

import os
import socket

import pytest

from tests.integration.prefect.flow_programs import BOOTS_FOREVER
from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until

EVERY_SERIES = pytest.mark.series()

HERE = socket.gethostname()
NO_SUCH_PID = 2**22 + 1
"""Above the kernel's highest (proc(5), pid_max)."""


def running_elsewhere(place: Place, pid: str | None, **job: object) -> str:
    """A run that somebody else started, and that is being cancelled."""
    run = place.admin.create_run(place.deploy(job_variables=job))
    place.admin.set_state(run, "RUNNING", force=True)
    if pid is not None:
        place.admin.request("PATCH", f"/flow_runs/{run}", {"infrastructure_pid": pid})
    place.admin.set_state(run, "CANCELLING", name="Cancelling", message="by the user", force=True)
    return run


@EVERY_SERIES
def test_a_command_that_is_cancelled_ends_with_all_it_started(place: Place) -> None:
    run = place.run(shell('sleep 600 & echo $! > "$1"/child; wait', str(place.folder)))
    with place.worker():
        [child] = until(lambda: place.started_by("child"))
        place.admin.set_state(run, "CANCELLING", name="Cancelling", message="enough")
        state = place.state_once(run)
        until(lambda: not os.path.exists(f"/proc/{child}"))
    assert (state["type"], state["name"], state["message"]) == ("CANCELLED", "Cancelled", "enough")
    assert "CRASHED" not in place.admin.states_of(run)


@EVERY_SERIES
def test_a_run_cancelled_while_its_worker_was_dead_is_cancelled_by_the_next(place: Place) -> None:
    run = place.admin.create_run(
        place.deploy_flow("sleeps"), job_variables={"env": {"NOTES": str(place.folder)}}
    )
    lasting = {"ACTOR_WORKER_EMBEDDED": "false"}
    with place.worker_program(variables=lasting) as worker:
        until(lambda: place.started_by(f"body-{run}"))
        worker.kill()
    place.admin.set_state(run, "CANCELLING", name="Cancelling")
    with place.worker_program(variables=lasting):
        place.state_once(run)
    types = place.admin.states_of(run)
    assert types[-1] == "CANCELLED"
    assert "CRASHED" not in types
    hooks = [line.split()[0] for line in place.started_by(f"hooks-{run}")]
    assert hooks.count("cancellation") == 1


@EVERY_SERIES
def test_an_engine_that_is_still_booting_is_cancelled(place: Place) -> None:
    (place.folder / "sitecustomize.py").write_text(BOOTS_FOREVER)
    env = {"NOTES": str(place.folder), "PYTHONPATH": str(place.folder)}
    run = place.admin.create_run(place.deploy_flow("sleeps"), job_variables={"env": env})
    with place.worker(hooks=False):  # their interpreter would be booting for ever, too
        [pid] = until(lambda: place.started_by("booting"))
        assert place.state(run)["type"] == "PENDING"
        place.admin.set_state(run, "CANCELLING", name="Cancelling")
        place.state_once(run)
        until(lambda: not os.path.exists(f"/proc/{pid}"))
    types = place.admin.states_of(run)
    assert types[-1] == "CANCELLED"
    assert not {"RUNNING", "CRASHED"} & set(types)


@EVERY_SERIES
def test_an_engine_that_hangs_is_cancelled_after_its_grace_period(place: Place) -> None:
    job = {"env": {"NOTES": str(place.folder)}, "grace_seconds": 1}
    run = place.admin.create_run(place.deploy_flow("hangs"), job_variables=job)
    with place.worker():
        until(lambda: place.started_by(f"body-{run}"))
        place.admin.set_state(run, "CANCELLING", name="Cancelling")
        place.state_once(run)
        pid = place.admin.read_run(run)["infrastructure_pid"].rpartition(":")[2]
        until(lambda: not os.path.exists(f"/proc/{pid}"))
    types = place.admin.states_of(run)
    assert types[-1] == "CANCELLED"
    assert "CRASHED" not in types


def test_a_run_of_a_dead_process_is_cancelled(place: Place) -> None:
    run = running_elsewhere(place, f"{HERE}:{NO_SUCH_PID}")
    with place.worker():
        state = place.state_once(run, "CANCELLED")
        place.log_once(run, "no longer there")
    assert (state["name"], state["message"]) == ("Cancelled", "by the user")


@EVERY_SERIES
def test_a_run_without_a_process_is_cancelled_and_says_so(place: Place) -> None:
    run = running_elsewhere(place, None)
    with place.worker():
        state = place.state_once(run, "CANCELLED")
    assert "not recorded" in state["message"]


@EVERY_SERIES
def test_a_process_on_another_host_is_left_to_the_workers_there(place: Place) -> None:
    run = running_elsewhere(place, "another-host:4711")
    with place.worker():
        place.log_once(run, "another-host")
        assert place.state(run)["type"] == "CANCELLING"


def test_a_process_of_this_host_that_is_not_ours_is_not_touched(place: Place) -> None:
    run = running_elsewhere(place, f"{HERE}:{os.getpid()}")
    with place.worker():
        place.log_once(run, "left alone")
        assert place.state(run)["type"] == "CANCELLING"


def test_a_pid_without_a_host_is_not_touched(place: Place) -> None:
    run = running_elsewhere(place, str(os.getpid()))
    with place.worker():
        place.log_once(run, "left alone")
        assert place.state(run)["type"] == "CANCELLING"


def test_a_run_whose_deployment_is_gone_is_cancelled_and_says_so(place: Place) -> None:
    run = running_elsewhere(place, f"{HERE}:{os.getpid()}")
    deployment = place.admin.read_run(run)["deployment_id"]
    place.admin.request("DELETE", f"/deployments/{deployment}")
    assert place.admin.read_run(run)["deployment_id"] == deployment
    with place.worker():
        state = place.state_once(run, "CANCELLED")
    assert "no longer exists" in state["message"]


def test_runs_that_cancel_by_themselves_and_those_of_others_are_left_alone(place: Place) -> None:
    by_itself = running_elsewhere(
        place, f"{HERE}:{NO_SUCH_PID}", command="prefect flow-run execute"
    )
    other = Place(place.server, place.folder)
    other.create_pool()
    of_another_pool = running_elsewhere(other, None)
    place.create_queue("chosen")
    of_another_queue = running_elsewhere(place, None)
    ours = place.admin.create_run(place.deploy(work_queue_name="chosen"))
    place.admin.set_state(ours, "RUNNING", force=True)
    place.admin.set_state(ours, "CANCELLING", name="Cancelling")
    with place.worker(work_queues=("chosen",)):
        place.state_once(ours, "CANCELLED")
    with place.worker():
        place.state_once(of_another_queue, "CANCELLED")
    assert place.state(by_itself)["type"] == "CANCELLING"
    assert place.state(of_another_pool)["type"] == "CANCELLING"


def test_a_scheduled_run_that_is_cancelled_never_starts(place: Place) -> None:
    run = place.run(shell('touch "$1"/started', str(place.folder)))
    place.admin.set_state(run, "CANCELLING", name="Cancelling")
    marker = place.run("true", report_states=True)
    with place.worker():
        place.state_once(marker)
    assert place.state(run)["type"] == "CANCELLED"
    assert not (place.folder / "started").exists()
