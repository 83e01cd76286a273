"""Signals to a real worker, a process, with real runs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from actors.journal.state_folder import StateFolder
from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until
from tests.integration.prefect.workers import WorkerProgram

LASTING = {"ACTOR_WORKER_EMBEDDED": "false"}


def lines(worker: WorkerProgram, event: str) -> list[dict[str, Any]]:
    """What the worker has logged under this name."""
    found = (json.loads(line) for line in worker.printed.splitlines())
    return [line for line in found if line["event"] == event]


def waiting_run(place: Place) -> tuple[str, int, Path]:
    """A run whose command waits until a file is there: its id, its pid, the file."""
    gate = place.folder / "gate"
    script = 'echo $$ > "$1"/pid; until [ -e "$2" ]; do sleep 0.05; done; exit 3'
    run = place.run(shell(script, str(place.folder), str(gate)))
    [pid] = until(lambda: place.started_by("pid"))
    return run, int(pid), gate


def test_sighup_replaces_the_worker_in_its_process_and_no_run_notices(place: Place) -> None:
    with place.worker_program(variables=LASTING) as worker:
        run, pid, gate = waiting_run(place)
        folder = StateFolder(place.folder / "state")
        until(lambda: place.admin.read_run(run)["infrastructure_pid"])
        for times in range(2, 5):
            worker.process.send_signal(signal.SIGHUP)
            until(lambda: len(lines(worker, "worker.started")), times.__eq__)
            assert not folder.try_lock()
            os.kill(pid, 0)
        until(lambda: len(lines(worker, "run.adopted")) == 3)
        gate.touch()
        state = place.state_once(run)
        assert (state["type"], "code 3" in state["message"]) == ("CRASHED", True)
        worker.terminate()
        assert worker.ended() == 0
        assert lines(worker, "worker.stopped") != []


def test_a_stop_that_comes_while_it_is_replaced_is_obeyed_by_the_successor(place: Place) -> None:
    with place.worker_program(variables=LASTING) as worker:
        run, _, gate = waiting_run(place)
        worker.process.send_signal(signal.SIGHUP)
        worker.terminate()
        until(lambda: len(lines(worker, "worker.draining")) == 1)
        gate.touch()
        assert worker.ended() == 0
        assert place.state(run)["type"] == "CRASHED"


def test_sighup_does_not_cost_an_embedded_worker_its_runs(place: Place) -> None:
    with place.worker_program() as worker:
        run, pid, gate = waiting_run(place)
        worker.process.send_signal(signal.SIGHUP)
        worker.said("worker.not_replaced")
        os.kill(pid, 0)
        gate.touch()
        place.state_once(run, "CRASHED")


def test_sigusr1_tells_what_actors_and_runs_do(place: Place) -> None:
    with place.worker_program() as worker:
        run, _, _ = waiting_run(place)
        worker.process.send_signal(signal.SIGUSR1)
        worker.said("dump.complete")
        assert {"guardian", "dispatcher", "poller"} <= {
            line["name"] for line in lines(worker, "dump.actor")
        }
        assert [line["flow_run_id"] for line in lines(worker, "dump.run")] == [run]
        place.admin.set_state(run, "CANCELLING")
        place.state_once(run, "CANCELLED")


def test_asked_again_it_asks_more_firmly_and_the_third_time_it_is_gone(place: Place) -> None:
    with place.worker_program("--drain-seconds", "1000", variables=LASTING) as worker:
        run, pid, gate = waiting_run(place)
        stubborn = place.run(
            shell('trap "" TERM; echo $$ > "$1"/stubborn; exec sleep 1000', str(place.folder))
        )
        until(lambda: place.started_by("stubborn"))
        worker.terminate()
        worker.said("worker.draining")
        os.kill(pid, 0)
        worker.terminate()
        assert "The worker was stopped" in place.state_once(run, "CRASHED")["message"]
        worker.process.send_signal(signal.SIGINT)
        assert worker.ended() == 128 + signal.SIGINT
        assert not gate.exists()
    [still] = place.started_by("stubborn")
    os.kill(int(still), signal.SIGKILL)
    with place.worker_program(variables=LASTING) as successor:
        assert place.state_once(stubborn)["type"] == "CRASHED"
        successor.terminate()
        assert successor.ended() == 0
