"""``python -m tests.benchmarks.sqlite``: how this worker gets on with a stock server on SQLite.

Each round makes runs of a plain command due at once and lets the worker start them. Told are how
long it took to start all, and how often the server froze: a request to ``/health`` without an
answer for more than 10 s. The server is as Prefect has it: it waits 60 s for a lock.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until
from tests.integration.prefect.workers import WorkerProgram
from tests.support.prefect_server import NEWEST, PrefectServer, interpreter

FROZEN_SECONDS: Final = 10.0
PAUSE: Final = 0.2
ROUND_SECONDS: Final = 600.0


@dataclass
class Probe:
    """Asks for ``/health`` all the time, in a thread of its own."""

    server: PrefectServer
    freezes: list[float] = field(default_factory=list)
    """Seconds of each wait for an answer that was longer than 10 s."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self._stop.wait(PAUSE):
            began = time.monotonic()
            with (
                suppress(OSError),
                opener.open(f"{self.server.api_url}/health", timeout=ROUND_SECONDS) as answer,
            ):
                answer.read()
            took = time.monotonic() - began
            if took > FROZEN_SECONDS:
                self.freezes.append(took)

    def stop(self) -> None:
        self._stop.set()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sqlite", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=50, help="of a round; default: %(default)s")
    options = parser.parse_args()
    python = interpreter(NEWEST)
    if python is None:
        print(f"No Python has Prefect {NEWEST}: make one with python3 -m tests --only-install")
        return 2
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        PrefectServer(python, Path(folder), lock_seconds=None) as server,
    ):
        probe = Probe(server)
        asking = threading.Thread(target=probe.run, name="probe", daemon=True)
        asking.start()
        try:
            measure(server, probe, rounds=options.rounds, runs=options.runs)
        finally:
            probe.stop()
            asking.join()
    return 0


def measure(server: PrefectServer, probe: Probe, *, rounds: int, runs: int) -> None:
    """Print a line for each round, then the sum of all."""
    took: list[float] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Place(server, Path(folder))
        place.create_pool()
        script = shell('echo $PREFECT__FLOW_RUN_ID >> "$1"/ran', folder)
        deployment = place.deploy(script)
        with place.worker_program("--query-seconds", "2") as worker:
            for number in range(1, rounds + 1):
                before, locked = len(probe.freezes), _times_locked(server)
                took.append(
                    play_round(place, deployment, worker, runs=runs, known=runs * (number - 1))
                )
                print(
                    f"round {number}: all {runs} started after {took[-1]:.1f} s; "
                    f"freezes: {len(probe.freezes) - before}; "
                    f"'database is locked': {_times_locked(server) - locked}",
                    flush=True,
                )
    frozen = sum(probe.freezes)
    print(
        f"{rounds} rounds of {runs} runs: {len(probe.freezes)} freezes, {frozen:.0f} s in all; "
        f"all started after {median(took):.1f} s (median), {max(took):.1f} s (worst)"
    )


def play_round(
    place: Place, deployment: str, worker: WorkerProgram, *, runs: int, known: int
) -> float:
    """Seconds until the last run started. Returns when the worker has settled all of them.

    The pool is paused while the runs are made, so that all of them are due at once.
    """
    _insist(partial(place.change_pool, is_paused=True))
    for number in range(known, known + runs):
        key = f"run {number}"  # a repeat of it makes no second run
        _insist(partial(place.admin.create_run, deployment, idempotency_key=key))
    began = time.monotonic()
    _insist(partial(place.change_pool, is_paused=False))
    expected = known + runs
    _wait_for(lambda: len(place.started_by("ran")), expected)
    took = time.monotonic() - began
    _wait_for(lambda: worker.printed.count("run.settled"), expected)
    return took


def _insist(ask: Callable[[], object]) -> None:
    """Ask until the server answers; each question waits a minute."""
    while True:
        with suppress(TimeoutError):
            ask()
            return


def _wait_for(count: Callable[[], int], expected: int) -> None:
    until(count, lambda number: number >= expected, patience=ROUND_SECONDS)


def _times_locked(server: PrefectServer) -> int:
    return server.log.count("database is locked")


if __name__ == "__main__":
    sys.exit(main())
