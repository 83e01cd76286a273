"""The worker is killed at the moments that matter; whoever comes after it tells the truth."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from tests.integration.faults.scene import GATED, Scene, at_once, told
from tests.integration.prefect.waiting import until
from tests.integration.prefect.workers import WorkerProgram
from tests.support.faults import Moment, Which, proposing, to

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Ending:
    """How the run has to end: the states after Pending, and words in the last one's message."""

    run: str
    types: tuple[str, ...]
    words: str = ""


Story = Callable[[Scene, WorkerProgram], AbstractContextManager[Ending]]
"""Inside the moment has come, and the worker is killed; what follows happens without a worker."""

FAILING: Final = "exit 7"
CODE_7: Final = "exited with code 7"


def crashed(run: str) -> Ending:
    return Ending(run, ("CRASHED",), CODE_7)


def held(which: Which, moment: Moment) -> Story:
    """While a request of a run that fails is held at this moment; it then goes nowhere."""

    @contextmanager
    def story(scene: Scene, _: WorkerProgram) -> Iterator[Ending]:
        with scene.proxy.holding(which, moment) as request:
            run = scene.run(FAILING)
            request.wait()
            yield crashed(run)

    return story


@contextmanager
def claim_arrives_without_its_worker(scene: Scene, _: WorkerProgram) -> Iterator[Ending]:
    with scene.proxy.holding(proposing("PENDING"), Moment.ARRIVED) as claim:
        run = scene.run(FAILING)
        claim.wait()
        yield crashed(run)
        claim.pass_on()
        assert scene.place.state(run)["type"] == "PENDING"


@contextmanager
def process_is_just_there(scene: Scene, _: WorkerProgram) -> Iterator[Ending]:
    run = scene.run(FAILING)
    at_once(lambda: scene.files_of(run, "process.json"))
    yield crashed(run)


@contextmanager
def running_is_reported(scene: Scene, _: WorkerProgram) -> Iterator[Ending]:
    with scene.proxy.holding(proposing("RUNNING"), Moment.ANSWERED) as report:
        run = scene.run(GATED, report_states=True)
        report.wait()
        yield Ending(run, ("RUNNING", "COMPLETED"))
        scene.let_go(run)


@contextmanager
def run_goes_its_way(scene: Scene, worker: WorkerProgram) -> Iterator[Ending]:
    run = scene.run(GATED + FAILING)
    scene.place.log_once(run, "started.")
    yield crashed(run)
    scene.let_go(run)
    until(lambda: scene.files_of(run, "exit.json"))


@contextmanager
def cancelled_run_is_ending(scene: Scene, _: WorkerProgram) -> Iterator[Ending]:
    run = scene.run('trap "touch $1/term-$PREFECT__FLOW_RUN_ID" TERM; ' + GATED + FAILING)
    scene.pid_once_started(run)
    scene.place.admin.set_state(run, "CANCELLING")
    until((scene.folder / f"term-{run}").exists)
    yield Ending(run, ("CANCELLING", "CANCELLED"))
    scene.let_go(run)


@contextmanager
def run_is_settled(scene: Scene, worker: WorkerProgram) -> Iterator[Ending]:
    run = scene.run(FAILING)
    at_once(lambda: scene.files_of(run, "settled"))
    yield crashed(run)


MOMENTS: Final[dict[str, Story]] = {
    "the claim is on its way": held(proposing("PENDING"), Moment.ARRIVED),
    "the claim is on its way and arrives": claim_arrives_without_its_worker,
    "the claim is made and not known of": held(proposing("PENDING"), Moment.ANSWERED),
    "the job is put together": held(to("GET", "/deployments/[^/]*"), Moment.ARRIVED),
    "the process is just there": process_is_just_there,
    "the pid is told": held(to("PATCH", "/flow_runs/[^/]*"), Moment.ARRIVED),
    "Running is reported": running_is_reported,
    "the run goes its way and ends meanwhile": run_goes_its_way,
    "a cancelled run is being ended": cancelled_run_is_ending,
    "the end is being reported": held(proposing("CRASHED"), Moment.ARRIVED),
    "the end is reported and that is not known": held(proposing("CRASHED"), Moment.ANSWERED),
    "the run is settled": run_is_settled,
}


@pytest.mark.series("3.9", "3.1")
def test_a_worker_may_be_killed_at_any_moment(scene: Scene) -> None:
    long = scene.run(GATED + "exit 9")
    worker = scene.start_worker()
    pid = scene.pid_once_started(long)
    until(lambda: scene.place.admin.read_run(long)["infrastructure_pid"])
    endings = []
    for moment, story in MOMENTS.items():
        with told(f"killed while {moment}"):
            with story(scene, worker) as ending:
                scene.kill(worker)
            worker = scene.start_worker()
            scene.ended_as(ending.run, *ending.types, words=ending.words)
            os.kill(pid, 0)
            endings.append((moment, ending))
    scene.let_go(long)
    scene.ended_as(long, "CRASHED", words="exited with code 9")
    worker.terminate()
    assert worker.ended() == 0
    for moment, ending in endings:  # no successor has put anything after it
        with told(f"long after it was killed while {moment}"):
            scene.ended_as(ending.run, *ending.types)
    scene.nothing_is_left()
