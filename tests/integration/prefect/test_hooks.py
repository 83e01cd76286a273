"""Which hooks of a flow run, in which process, on which version of Prefect.

The engine runs its hooks as long as it lives. When it is gone, or too old to run them at its end,
the worker has the hooks for a crash or a cancellation run in a process of their own.
"""

from __future__ import annotations

import pytest

from tests.integration.prefect.gallery import Gallery
from tests.integration.prefect.kit import Place
from tests.integration.prefect.waiting import until

NEW_ENGINE = {
    "succeeds": ["running RUNNING engine", "completion COMPLETED engine"],
    "completes_and_exits_with_7": ["running RUNNING engine", "completion COMPLETED engine"],
    "fails": ["running RUNNING engine", "failure FAILED engine"],
    "raises_at_import": [],
    "is_killed": ["running RUNNING engine", "crashed CRASHED worker"],
    "leaves_at_once": ["running RUNNING engine", "crashed CRASHED worker"],
    "is_terminated": ["running RUNNING engine", "crashed CRASHED engine"],
    "sleeps": ["running RUNNING engine", "cancellation CANCELLING engine"],
    "ignores_sigterm": ["running RUNNING engine", "cancellation CANCELLING worker"],
}

OLD_ENGINE = NEW_ENGINE | {
    "is_terminated": ["running RUNNING engine", "crashed CRASHED worker"],
    "sleeps": ["running RUNNING engine", "cancellation CANCELLING worker"],
}


@pytest.mark.series
@pytest.mark.parametrize("name", NEW_ENGINE)
def test_each_hook_runs_once_in_the_engine_or_after_it(gallery: Gallery, name: str) -> None:
    picture = gallery[name]
    expected = NEW_ENGINE if gallery.place.server_series >= (3, 8) else OLD_ENGINE
    found = [
        f"{hook} {state} {'engine' if pid == picture.pid else 'worker'}"
        for hook, state, pid in picture.hooks()
    ]
    assert found == expected[name]


@pytest.mark.series
def test_hooks_that_cannot_be_run_are_told_in_the_runs_log(gallery: Gallery) -> None:
    gallery.place.log_once(gallery["raises_at_import"].id, "on_crashed hooks of this flow failed")


def scheduled(place: Place, flow: str) -> str:
    job = {"env": {"NOTES": str(place.folder)}}
    return place.admin.create_run(place.deploy_flow(flow), job_variables=job)


def test_hooks_run_once_whichever_worker_sees_them_through(place: Place) -> None:
    """The first worker is killed while they run, its successor waits for their end."""
    lasting = {"ACTOR_WORKER_EMBEDDED": "false"}
    run = scheduled(place, "crashes_with_a_gated_hook")
    with place.worker_program(variables=lasting) as worker:
        until(lambda: place.started_by(f"hooks-{run}"))
        worker.kill()
    with place.worker_program(variables=lasting) as worker:
        until(lambda: "run.adopted" in worker.printed)
        (place.folder / f"go-{run}").touch()
        until(lambda: "run.settled" in worker.printed)
        worker.terminate()
        assert worker.ended() == 0
    begun, done = place.started_by(f"hooks-{run}")
    assert (begun.split()[0], done.split()[0]) == ("begins", "ends")
    assert place.state(run)["type"] == "CRASHED"


def test_a_worker_may_be_told_to_run_no_hooks(place: Place) -> None:
    run = scheduled(place, "is_killed")
    with place.worker(hooks=False) as worker:
        place.state_once(run, "CRASHED")
        worker.finish()
    assert [line.split()[0] for line in place.started_by(f"hooks-{run}")] == ["running"]


def test_hooks_that_take_too_long_are_ended(place: Place) -> None:
    run = scheduled(place, "crashes_with_a_long_hook")
    with place.worker(hooks_seconds=20.0):
        until(lambda: place.started_by(f"hooks-{run}"))
        place.log_once(run, "on_crashed hooks of this flow failed: The process was ended by")
    assert place.state(run)["type"] == "CRASHED"
