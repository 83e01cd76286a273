"""Cancelling, and what becomes of runs whose worker goes away."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.integration.prefect.kit import shell
from tests.integration.prefect.waiting import until
from tests.parity.sides import LONG, Side


def cancel(side: Side, run: str) -> None:
    side.place.admin.set_state(run, "CANCELLING", name="Cancelling")


def in_its_body(side: Side, run: str) -> None:
    until(lambda: side.place.started_by(f"body-{run}"), patience=LONG)


def a_cancelled_flow(side: Side) -> str:
    run = side.flow("sleeps")
    with side.worker():
        in_its_body(side, run)
        begun = time.monotonic()
        cancel(side, run)
        side.state_after(run)
        took = time.monotonic() - begun
        side.over(run)
    _, _, after = side.names(run).rpartition("Running, ")
    return f"{after} in {took:.0f} s; {side.hooks(run)}"


def a_cancelled_flow_that_is_deaf_to_sigterm(side: Side) -> str:
    run = side.flow("ignores_sigterm")
    with side.worker():
        in_its_body(side, run)
        cancel(side, run)
        side.over(run)
        hooks = side.hooks(run, "cancellation")
    _, _, after = side.names(run).rpartition("Running, ")
    return f"{after}; {hooks}"


def a_cancelled_command_and_its_child(side: Side) -> str:
    """The child has left its parent's process group, as daemons do."""
    script = 'setsid sleep 600 & echo $! > "$1"/child; wait'
    run = side.place.run(shell(script, str(side.place.folder)))
    with side.worker():
        [child] = until(lambda: side.place.started_by("child"), patience=LONG)
        until(lambda: side.place.admin.read_run(run)["infrastructure_pid"], patience=LONG)
        cancel(side, run)
        side.over(run)
        state = side.state_after(run, patience=5)
        alive = Path(f"/proc/{child}").exists()
        if alive:
            os.kill(int(child), 9)
    return f"{state}; its child {'lives on' if alive else 'ended'}"


def cancelled_between_two_workers(side: Side) -> str:
    run = side.flow("sleeps")
    with side.worker() as first:
        in_its_body(side, run)
        first.kill()
        cancel(side, run)
        with side.worker():
            return side.state_after(run, patience=60)


def a_command_whose_worker_is_told_to_stop(side: Side) -> str:
    script = 'echo $$ > "$1"/pid; sleep 15; echo done > "$1"/done; exit 3'
    run = side.place.run(shell(script, str(side.place.folder)))
    with side.worker() as worker:
        until(lambda: side.place.started_by("pid"), patience=LONG)
        until(lambda: side.place.admin.read_run(run)["infrastructure_pid"], patience=LONG)
        worker.terminate()
        code = worker.process.wait(LONG)
    ran = "ran to its end" if side.place.started_by("done") else "was ended"
    return f"{side.place.state(run)['name']}; the command {ran}; the worker exits with {code}"


def a_command_whose_worker_is_killed(side: Side) -> str:
    """And another one started in its place."""
    script = 'echo $$ > "$1"/pid; until [ -e "$1"/go ]; do sleep 0.1; done; exit 3'
    run = side.place.run(shell(script, str(side.place.folder)))
    with side.worker() as first:
        until(lambda: side.place.started_by("pid"), patience=LONG)
        until(lambda: side.place.admin.read_run(run)["infrastructure_pid"], patience=LONG)
        first.kill()
        (side.place.folder / "go").touch()
        with side.worker():
            return side.state_after(run, patience=30)


SCENARIOS = (
    a_cancelled_flow,
    a_cancelled_flow_that_is_deaf_to_sigterm,
    a_cancelled_command_and_its_child,
    cancelled_between_two_workers,
    a_command_whose_worker_is_told_to_stop,
    a_command_whose_worker_is_killed,
)
