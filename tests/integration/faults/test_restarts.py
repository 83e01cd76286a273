"""A worker is killed and started again and again; a long run does not notice."""

from __future__ import annotations

import os
import random
from functools import partial

import pytest

from tests.integration.faults.scene import GATED, Scene, logged, told
from tests.integration.faults.weather import storm
from tests.integration.prefect.waiting import until
from tests.support.faults import fair

pytestmark = pytest.mark.slow

RESTARTS = 10
SEED = 1


@pytest.mark.series("3.9", "3.1")
def test_ten_killed_workers_in_a_row_leave_a_run_alone(scene: Scene) -> None:
    run = scene.run(GATED + "echo done; exit 7")
    worker = scene.start_worker()
    pid = scene.pid_once_started(run)
    until(lambda: scene.place.admin.read_run(run)["infrastructure_pid"])
    scene.proxy.weather = storm(random.Random(SEED), share=0.3)
    for restart in range(RESTARTS):
        with told(f"restart {restart + 1}"):
            scene.kill(worker)
            worker = scene.start_worker()
            adopted = until(partial(logged, worker, "run.adopted"))
            assert [line["pid"] for line in adopted] == [pid]
            os.kill(pid, 0)
            assert [started for _, started in scene.starts(run)] == [pid]
    scene.kill(worker)
    scene.let_go(run)
    until(lambda: scene.files_of(run, "exit.json"))
    worker = scene.start_worker()
    scene.proxy.weather = fair
    scene.ended_as(run, "CRASHED", words="exited with code 7")
    assert int(scene.place.admin.read_run(run)["infrastructure_pid"].split(":")[1]) == pid
    scene.nothing_is_left()
    worker.terminate()
    assert worker.ended() == 0
