"""What ends while the server is away is told when it is back, whoever died in between."""

from __future__ import annotations

import pytest

from tests.integration.faults.scene import GATED, Scene, logged
from tests.integration.prefect.waiting import until
from tests.support.faults import Moment, proposing

pytestmark = pytest.mark.slow


@pytest.mark.series("3.9", "3.1")
def test_what_ends_in_an_outage_is_told_once_though_the_worker_was_killed_in_it(
    scene: Scene,
) -> None:
    fails = scene.run(GATED + "exit 7")
    late = scene.run(GATED + "exit 9")
    reports = scene.run(GATED, report_states=True)
    unknown = scene.run(GATED + "exit 99")
    is_ending = scene.run('trap "touch $1/told" TERM; ' + GATED + "exit 0")
    worker = scene.start_worker()
    for run in (fails, late, unknown, is_ending):
        scene.place.log_once(run, "started.")
    scene.place.state_once(reports, "RUNNING")
    scene.place.admin.set_state(is_ending, "CANCELLING")
    until((scene.folder / "told").exists)
    with scene.proxy.holding(proposing("RUNNING"), Moment.ARRIVED) as report:
        unheard = scene.run(GATED + "exit 5", report_states=True)
        report.wait()
        with scene.proxy.outage():
            ended = (fails, reports, is_ending, unheard)
            for run in ended:
                scene.let_go(run)
            until(lambda: len(logged(worker, "run.exited")) == len(ended))
            scene.place.admin.set_state(unknown, "CANCELLING")
            scene.kill(worker)
            worker = scene.start_worker()
            until(lambda: len(logged(worker, "run.adopted")) == 6)
            scene.let_go(late)
            until(lambda: scene.files_of(late, "exit.json"))
            scene.kill(worker)
            worker = scene.start_worker()
            until(lambda: len(logged(worker, "run.adopted")) == 6)
    scene.ended_as(fails, "CRASHED", words="exited with code 7")
    scene.ended_as(late, "CRASHED", words="exited with code 9")
    scene.ended_as(reports, "RUNNING", "COMPLETED")
    scene.ended_as(unheard, "FAILED", words="exited with code 5")
    scene.ended_as(is_ending, "CANCELLING", "CANCELLED")
    scene.ended_as(unknown, "CANCELLING", "CANCELLED")
    until(lambda: len(logged(worker, "run.settled")) == 6)
    worker.terminate()
    assert worker.ended() == 0
    for run in (*ended, late, unknown):
        types = scene.place.admin.states_of(run)
        assert types[-1] == scene.place.state_once(run)["type"]
        kinds = [event["event"] for event in scene.place.events_about(run)]
        assert kinds.count("prefect.worker.executed-flow-run") <= 1
    scene.nothing_is_left()
