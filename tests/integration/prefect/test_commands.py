"""Commands of the users' own instead of flows: how they are started, and what is said of them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until

EVERY_SERIES = pytest.mark.series()


@EVERY_SERIES
def test_a_command_that_ends_well_stays_pending_and_the_log_says_why(place: Place) -> None:
    run = place.run("true")
    with place.worker():
        assert "report_states" in place.log_once(run, "stays Pending")
        assert place.state(run)["type"] == "PENDING"


@EVERY_SERIES
def test_a_command_that_fails_is_crashed_with_its_code(place: Place) -> None:
    run = place.run(shell("echo the last words; exit 3"))
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert "exited with code 3" in state["message"]
    assert "the last words" in state["message"]


@EVERY_SERIES
@pytest.mark.parametrize(("command", "end"), [("true", "COMPLETED"), ("false", "FAILED")])
def test_a_command_may_have_its_states_reported(place: Place, command: str, end: str) -> None:
    run = place.run(command, report_states=True)
    with place.worker():
        place.state_once(run)
    assert place.admin.states_of(run) == ["SCHEDULED", "PENDING", "RUNNING", end]


def test_quotes_and_spaces_are_split_as_a_shell_splits_them(place: Place) -> None:
    arguments = ["two words", "  many   spaces ", "a'quote", 'a"quote', "", "$HOME", "*"]
    run = place.run(
        shell('printf "%s\\n" "$@" > arguments', *arguments),
        report_states=True,
        working_dir=str(place.folder),
    )
    with place.worker():
        place.state_once(run)
    assert place.started_by("arguments") == arguments


@EVERY_SERIES
def test_a_missing_command_is_a_crash_that_says_so(place: Place) -> None:
    run = place.run("no-such-command --at all")
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert "no-such-command" in state["message"]
    assert "could not be started" in state["message"]


def test_a_file_that_may_not_be_executed_is_a_crash_that_says_so(place: Place) -> None:
    file = place.folder / "not-executable"
    file.write_text("#!/bin/sh\n")
    run = place.run(str(file))
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert str(file) in state["message"]
    assert "ermission" in state["message"] or "executable" in state["message"]


def test_a_missing_working_directory_is_a_crash_that_says_so(place: Place) -> None:
    run = place.run("true", working_dir=str(place.folder / "nowhere"))
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert str(place.folder / "nowhere") in state["message"]


def test_an_environment_that_no_process_can_have_is_a_crash_that_says_so(place: Place) -> None:
    run = place.run("true", env={"A=B": "c"})
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert "'A=B'" in state["message"]


def test_a_command_with_an_open_quote_is_a_crash_that_says_so(place: Place) -> None:
    run = place.run("echo 'unfinished")
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert "quot" in state["message"]


def test_without_a_working_directory_there_is_a_temporary_one_removed_afterwards(
    place: Place,
) -> None:
    note = place.folder / "where"
    run = place.run(shell('pwd > "$1"; touch litter', str(note)), report_states=True)
    with place.worker():
        assert place.state_once(run)["type"] == "COMPLETED"
        [where] = place.started_by("where")
        until(lambda: not Path(where).exists())
    assert where.endswith("prefect")


def test_a_command_runs_in_its_working_directory(place: Place) -> None:
    run = place.run(shell("pwd > where"), working_dir=str(place.folder), report_states=True)
    with place.worker():
        place.state_once(run)
    assert place.started_by("where") == [os.path.realpath(place.folder)]


def test_a_command_waits_until_its_run_is_due(place: Place) -> None:
    script = shell("date +%s.%N > when")
    job = {"working_dir": str(place.folder), "report_states": True}
    deployment = place.deploy(script, job_variables=job)
    with place.worker(prefetch_seconds=60):
        due = datetime.now(UTC) + timedelta(seconds=15)
        run = place.admin.create_run(deployment, due=due)
        place.state_once(run)
    [claimed] = [state for state in place.history(run) if state["name"] == "Pending"]
    assert datetime.fromisoformat(claimed["timestamp"]) < due  # taken early, that is
    [when] = place.started_by("when")
    assert float(when) >= due.timestamp()


def test_output_that_is_not_streamed_is_kept_for_the_crash_message(place: Place) -> None:
    silent = place.run(shell("echo not for the log; exit 1"), stream_output=False)
    loud = place.run(shell("echo for the log"), report_states=True)
    with place.worker_program() as worker:
        assert "not for the log" in place.state_once(silent)["message"]
        place.state_once(loud)
        worker.said("for the log")
    assert '"line": "for the log"' in worker.printed
    assert "not for the log" not in "".join(
        line for line in worker.printed.splitlines() if "run.output" in line
    )
