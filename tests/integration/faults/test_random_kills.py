"""Workers are killed at random, the server misbehaves at random, and runs keep coming.

``ACTOR_WORKER_TEST_KILL_SECONDS`` is how long it goes on (the full proof: 120), and
``ACTOR_WORKER_TEST_KILL_SEED`` what chance begins with. The same seed gives the same plan; how
it meets real processes differs from one time to the next.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Final

import pytest

from tests.integration.faults.scene import GATED, Scene, dumped, told
from tests.integration.faults.stream import Stream
from tests.integration.faults.weather import forecast
from tests.integration.prefect.waiting import until
from tests.integration.prefect.workers import WorkerProgram
from tests.support.faults import fair

pytestmark = pytest.mark.slow

SECONDS: Final = float(os.environ.get("ACTOR_WORKER_TEST_KILL_SECONDS", "25"))
SEED: Final = int(os.environ.get("ACTOR_WORKER_TEST_KILL_SEED", "1"))

LIMIT: Final = 6
"""Runs at a time: fewer than are due, so that a slot that leaks is missed."""

MOST_RUNS: Final = 3
"""How many commands become due in the life of one worker."""

GROWN_UP: Final = 0.8
"""This share of the workers is not killed while they start."""

MOST_REQUESTS: Final = 60
LONGEST_LIFE: Final = 3.0
"""A worker is killed after up to so many requests, or so many seconds."""


@pytest.mark.series("3.9", "3.1")
def test_whatever_happens_every_run_is_run_once_and_told_truly(scene: Scene) -> None:
    chance = random.Random(SEED)
    stream = Stream(scene, chance)
    with told(f"Replay: ACTOR_WORKER_TEST_KILL_SECONDS={SECONDS:g} ..._SEED={SEED}"):
        disturb(scene, stream, chance)
        scene.proxy.weather = fair
        stream.cancel(share=1.0)
        worker = scene.start_worker("--limit", str(LIMIT))
        stream.is_over()
        stream.ended_truly()
        slots_are_the_live_runs(scene, worker)
        worker.terminate()
        assert worker.ended() == 0
        scene.nothing_is_left()
    print(
        f"{scene.kills} workers and {scene.keeper_kills} keepers killed; runs: "
        f"{dict(Counter(run.kind for run in stream.runs))}; {scene.proxy.requests} requests, "
        f"faults: { {fault.value: n for fault, n in scene.proxy.injected.items()} }"
    )


def disturb(scene: Scene, stream: Stream, chance: random.Random) -> None:
    """One worker's life after the other, until the time is up. No worker is left."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for _ in range(chance.randint(0, MOST_RUNS)):
            stream.command()
        if chance.random() < 0.25:
            stream.flow()
        stream.cancel(share=0.3)
        day = forecast(chance)
        scene.proxy.weather = day.weather
        worker = scene.start_worker("--limit", str(LIMIT))
        with day.around(scene.proxy):
            if chance.random() < GROWN_UP:
                worker.said("worker.up")
            life = chance.uniform(0, LONGEST_LIFE)
            scene.proxy.wait_for_requests(chance.randint(0, MOST_REQUESTS), life)
            scene.kill(worker)
        if chance.random() < 0.15:
            stream.keeper_killed()
            scene.kill_keeper()


def slots_are_the_live_runs(scene: Scene, worker: WorkerProgram) -> None:
    """As many runs as may run at a time do, one more waits; the worker's table says the same."""
    runs = [scene.run(GATED + "exit 3") for _ in range(LIMIT + 1)]
    going = until(
        lambda: {run for run in runs if scene.starts(run)}, lambda some: len(some) == LIMIT
    )
    in_hand = dumped(worker)
    assert {line["flow_run_id"] for line in in_hand if line["holds_slot"]} == going
    assert {key.rpartition(".")[0] for key in scene.live_keys()} == going
    for run in runs:
        scene.let_go(run)
    for run in runs:
        scene.ended_as(run, "CRASHED", words="exited with code 3")
    until(lambda: dumped(worker), lambda lines: not lines)
