"""A worker is killed between the end of an engine and its hooks: they run once all the same."""

from __future__ import annotations

import pytest

from tests.integration.faults.scene import Scene, at_once, told
from tests.integration.prefect.waiting import until
from tests.support.faults import Moment, proposing

pytestmark = pytest.mark.slow


def begin(scene: Scene) -> str:
    """Schedule a flow that is killed; its engine and hooks talk to the server directly."""
    env = {"NOTES": str(scene.folder), "PREFECT_API_URL": scene.place.server.api_url}
    deployment = scene.place.deploy_flow("is_killed")
    return scene.place.admin.create_run(deployment, job_variables={"env": env})


@pytest.mark.series("3.9", "3.1")
def test_hooks_run_once_wherever_the_worker_is_killed(scene: Scene) -> None:
    worker, runs = scene.start_worker(), []
    for moment in (Moment.ARRIVED, Moment.ANSWERED):
        with told(f"killed when Crashed has {moment}"):
            with scene.proxy.holding(proposing("CRASHED"), moment) as report:
                runs.append(begin(scene))
                report.wait()
                scene.kill(worker)
            worker = scene.start_worker()
            until(lambda: scene.files_of(runs[-1], "settled"))
    runs.append(begin(scene))
    at_once(lambda: list(scene.state.runs.glob(f"{runs[-1]}.*.hooks/process.json")))
    scene.kill(worker)
    worker = scene.start_worker()
    until(lambda: scene.files_of(runs[-1], "settled"))
    worker.terminate()
    assert worker.ended() == 0
    for run in runs:
        hooks = [line.split()[:2] for line in scene.place.started_by(f"hooks-{run}")]
        assert hooks == [["running", "RUNNING"], ["crashed", "CRASHED"]]
        assert scene.place.admin.states_of(run)[-2:] == ["RUNNING", "CRASHED"]
    scene.nothing_is_left()
