"""``python -m tests.benchmarks.peer``: this worker beside ``prefect worker start --type process``.

One Prefect server on SQLite, as it comes; the two take turns, each with a pool of its own and
Prefect's defaults. Told are how long after its time a run starts, what worker and keeper cost in
processor time per run, and what became of the runs. ``--flows`` runs engines instead of a plain
command; ``--apart 0`` makes all of them due at once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar

import psutil

from actors.journal.state_folder import StateFolder
from tests.integration.keeper.kit import keepers_of
from tests.integration.load.kit import states_of
from tests.integration.prefect.kit import Place, moment, shell
from tests.support.prefect_server import NEWEST, PrefectServer, interpreter

LOOK_AGAIN = 2.0
"""Seconds between questions to the server, which has enough to do."""

MOST_SILENCES = 5
"""Of a minute each, which is how long a question waits for its answer."""

T = TypeVar("T")

Processes = Callable[[], list[psutil.Process]]
"""Those of a worker, without its runs."""


@dataclass(frozen=True)
class Load:
    """What a worker gets to do, and for how long at most."""

    runs: int
    apart: float
    flows: bool
    seconds: float
    limit: int | None


@dataclass(frozen=True)
class Outcome:
    """Of one round. Delays of those that started, in seconds after they were due."""

    delays: list[float]
    cpu: float
    took: float
    states: Counter[str]

    def line(self, runs: int) -> str:
        if len(self.delays) < 2:
            return f"{len(self.delays)} of {runs} started; {dict(self.states)}"
        late = quantiles(self.delays, n=20)[-1]
        return (
            f"{len(self.delays)} of {runs} started; delay: median {median(self.delays):.2f} s, "
            f"p95 {late:.2f} s; all after {self.took:.0f} s; {self.cpu / runs * 1000:.0f} ms of "
            f"CPU per run; {dict(self.states)}"
        )


@contextmanager
def ours(place: Place, limit: int | None) -> Iterator[Processes]:
    options = ("--query-seconds", "10", *(("--limit", str(limit)) if limit else ()))
    state = StateFolder(place.folder / "state")
    with place.worker_program(*options) as worker:
        process = psutil.Process(worker.process.pid)
        yield lambda: [process, *map(psutil.Process, keepers_of(state))]
    psutil.wait_procs(list(map(psutil.Process, keepers_of(state))), timeout=60)


@contextmanager
def theirs(place: Place, limit: int | None) -> Iterator[Processes]:
    with place.prefects_worker(*(("--limit", str(limit)) if limit else ())) as worker:
        process = psutil.Process(worker.process.pid)
        yield lambda: [process]


CONTESTANTS = {"ours": ours, "prefect's": theirs}


def compete(name: str, server: PrefectServer, load: Load) -> Outcome:
    """One worker, from its start until everything has run or the time is over."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        place = Place(server, Path(folder))
        place.create_pool()
        if load.flows:
            deployment = place.deploy_flow("succeeds", job_variables={"env": {"NOTES": folder}})
        else:
            script = shell('echo $PREFECT__FLOW_RUN_ID $(date +%s.%N) >> "$1"/ran', folder)
            deployment = place.deploy(script)
        processes = stack.enter_context(CONTESTANTS[name](place, load.limit))
        first = place.admin.create_run(deployment)
        _wait_for(place, [first], load, time.monotonic() + 120)
        before, began = _cpu(processes()), time.monotonic()
        # so far ahead that all of them are known before the first is due
        ahead = datetime.now(UTC) + timedelta(seconds=20 + 0.1 * load.runs)
        due = {
            place.admin.create_run(deployment, due=moment): moment.timestamp()
            for moment in (ahead + timedelta(seconds=n * load.apart) for n in range(load.runs))
        }
        time.sleep(max(0.0, ahead.timestamp() - time.time() - 10))
        began = time.monotonic() + 10
        _wait_for(place, list(due), load, began + load.seconds)
        took, cpu = time.monotonic() - began, _cpu(processes()) - before
        starts = _starts(place, list(due), flows=load.flows)
        delays = [at - due[run] for run, at in starts.items()]
        return Outcome(delays, cpu, took, _answer(lambda: states_of(place, due)))


def _answer(ask: Callable[[], T]) -> T:
    """What the server answers, if it takes minutes: under load it is silent for one at a time."""
    for _ in range(MOST_SILENCES):
        with suppress(TimeoutError):
            return ask()
    return ask()


def _wait_for(place: Place, runs: Sequence[str], load: Load, end: float) -> None:
    """Until flows have ended, or commands, which tell the server nothing, have begun."""
    over = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    while time.monotonic() < end:
        if load.flows:
            done = over.issuperset(_answer(lambda: states_of(place, runs)))
        else:
            done = len(_starts(place, runs, flows=False)) == len(runs)
        if done:
            return
        time.sleep(LOOK_AGAIN)


def _starts(place: Place, runs: Sequence[str], *, flows: bool) -> dict[str, float]:
    """When each run began, in seconds since the epoch; not of those that have not."""
    if not flows:
        lines = map(str.split, place.started_by("ran"))
        return {run: float(at) for run, at in lines if run in runs}
    wanted = {"flow_runs": {"id": {"any_": list(runs)}}, "limit": len(runs)}
    found = _answer(lambda: place.admin.request("POST", "/flow_runs/filter", wanted))
    times = {run["id"]: run["start_time"] for run in found}
    return {run: moment(at).timestamp() for run, at in times.items() if at is not None}


def _cpu(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(time.user + time.system for time in times)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peer", description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="default: %(default)s")
    parser.add_argument("--apart", type=float, default=0.5, help="seconds; default: %(default)s")
    parser.add_argument("--flows", action="store_true", help="run flows, not a plain command")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="runs at a time; default: none")
    parser.add_argument("--seconds", type=float, default=300.0, help="of each round at most")
    parser.add_argument("--only", choices=CONTESTANTS, help="one of the two")
    options = parser.parse_args()
    python = interpreter(NEWEST)
    if python is None:
        print(f"No Python has Prefect {NEWEST}: make one with python3 -m tests --only-install")
        return 2
    load = Load(options.runs, options.apart, options.flows, options.seconds, options.limit)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        PrefectServer(python, Path(folder), lock_seconds=None) as server,
    ):
        names = list(CONTESTANTS) if options.only is None else [options.only]
        for name in names * options.rounds:
            known = server.log.count("database is locked")
            outcome = compete(name, server, load)
            locked = server.log.count("database is locked") - known
            line = outcome.line(load.runs)
            print(f"{name:10} {line}; {locked} times 'database is locked'", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
