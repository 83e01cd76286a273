"""``actor-worker`` as a process: what it says, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import (
    ACTOR_WORKER,
    PATIENCE_SECONDS,
    ROOT,
    Command,
    environment,
    full_pipe,
    healthy,
)
from tests.support.ports import held_port
from tests.support.users import NOBODY


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a server that is not there, on a port that nobody else will take."""
    with held_port() as port:
        yield f"http://127.0.0.1:{port}/api"


@pytest.fixture
def python_with_prefect(tmp_path: Path) -> Path:
    """An interpreter that says it has Prefect; nothing here gets as far as running a flow."""
    python = tmp_path / "python-with-prefect"
    python.write_text("#!/bin/sh\necho 3.8.8\n")
    python.chmod(0o755)
    return python


@pytest.fixture
def env(tmp_path: Path, nowhere: str, python_with_prefect: Path) -> dict[str, str]:
    return environment(
        PREFECT_HOME=str(tmp_path / "prefect"),
        PREFECT_API_URL=nowhere,
        PREFECT_CLIENT_MAX_RETRIES="0",
        XDG_STATE_HOME=str(tmp_path / "state"),
        ACTOR_WORKER_PYTHON=str(python_with_prefect),
        ACTOR_WORKER_EMBEDDED="true",
    )


def actor_worker(*arguments: str, env: dict[str, str]) -> Command:
    return Command([*ACTOR_WORKER, *arguments], env=env)


def start(*arguments: str, env: dict[str, str]) -> Command:
    return actor_worker("start", "--pool", "p", *arguments, env=env)


def test_version_and_help_are_answered(env: dict[str, str]) -> None:
    for arguments, words in (
        (["--version"], "actor-worker "),
        (["--help"], "quickstart"),
        (["start", "--help"], "--work-queue"),
    ):
        with actor_worker(*arguments, env=env) as command:
            assert command.exit_code() == 0
            assert words in command.said


def test_a_state_folder_that_is_not_ours_is_a_wrong_setting(
    env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "link"
    folder.symlink_to(tmp_path / "elsewhere")
    if os.geteuid() == 0:
        folder = tmp_path / "elsewhere"
        os.chown(folder, NOBODY, NOBODY)
    with start("--state-dir", str(folder), env=env) as command:
        assert command.exit_code() == 2
        assert f"Error: The state folder {folder} " in command.said
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_missing_pool_or_server_is_a_clear_error_with_exit_code_2(env: dict[str, str]) -> None:
    with actor_worker("start", env=env) as command:
        assert command.exit_code() == 2
        assert command.said.startswith("Error: No work pool is named")
    del env["PREFECT_API_URL"]
    with start(env=env) as command:
        assert command.exit_code() == 2
        assert "PREFECT_API_URL" in command.said
        assert "Traceback" not in command.said


def test_no_prefect_anywhere_is_a_clear_error_with_exit_code_2(
    env: dict[str, str], tmp_path: Path
) -> None:
    without = tmp_path / "python-without"
    without.write_text("#!/bin/sh\necho none\n")
    without.chmod(0o755)
    with start("--python", str(without), env=env) as command:
        assert command.exit_code() == 2
        assert f"{without} has no Prefect" in command.said
        assert "pip install 'actor-worker[local]'" in command.said


def test_it_does_not_say_that_it_has_started_while_the_server_is_away(
    env: dict[str, str],
) -> None:
    with start("--name", "blue", "--log-format", "console", env=env) as command:
        command.until("pool.sync_failed")
        command.terminate()
        assert command.exit_code() == 0
        assert "started!" not in command.said
        assert "stopped!" not in command.said


def test_in_json_every_line_is_an_object(env: dict[str, str]) -> None:
    with start("--name", "blue", env=env) as command:
        command.until("worker.up")
        command.interrupt()
        assert command.exit_code() == 0
    lines = [json.loads(line) for line in command.said.splitlines()]
    assert all(line["pool"] == "p" for line in lines)


def test_a_second_worker_takes_the_next_number_and_a_restarted_one_its_own(
    env: dict[str, str],
) -> None:
    host = socket.gethostname()
    with start(env=env) as first, start_after(first, host, env) as second:
        second.until(f'"worker": "{host}-2"')
        for command in (first, second):
            command.terminate()
            assert command.exit_code() == 0
    with start(env=env) as again:
        again.until(f'"worker": "{host}"')
        again.terminate()
        assert again.exit_code() == 0


def start_after(first: Command, host: str, env: dict[str, str]) -> Command:
    first.until(f'"worker": "{host}"')
    return start(env=env)


def test_a_state_folder_in_use_is_a_clear_error_with_exit_code_1(
    env: dict[str, str], tmp_path: Path
) -> None:
    folder = str(tmp_path / "mine")
    with start("--state-dir", folder, env=env) as first:
        first.until("worker.up")
        with start("--state-dir", folder, env=env) as second:
            assert second.exit_code() == 1
            assert folder in second.said
            assert "--state-dir" in second.said
        first.terminate()
        assert first.exit_code() == 0


def test_a_record_of_a_newer_version_is_a_clear_error_with_exit_code_1(
    env: dict[str, str], tmp_path: Path
) -> None:
    state = tmp_path / "mine"
    run = state / "runs" / "some-claim"
    run.mkdir(parents=True)
    (run / "run.json").write_text('{"format": 9, "record": {}}')
    with start("--state-dir", str(state), env=env) as command:
        assert command.exit_code() == 1
    last = command.said.splitlines()[-1]
    assert last.startswith(f"Error: {run / 'run.json'} has format 9, and this version knows ")
    assert last.endswith("Update the worker, or choose another folder with --state-dir.")


def test_run_once_against_a_dead_server_is_a_clear_error_with_exit_code_1(
    env: dict[str, str], nowhere: str
) -> None:
    with start("--run-once", "--log-format", "console", env=env) as command:
        assert command.exit_code() == 1
        assert nowhere in command.said.splitlines()[-1]
        assert command.said.splitlines()[-1].startswith("Error: ")


def test_the_health_server_answers_while_the_server_is_away(
    env: dict[str, str], port: int
) -> None:
    address = ("--health-host", "127.0.0.1", "--health-port", str(port))
    with start("--with-healthcheck", *address, env=env) as command:
        command.until("worker.up")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
            assert json.load(answer) == {"message": "OK"}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            opener.open(f"http://127.0.0.1:{port}/", timeout=30)
        with start("--with-healthcheck", *address, env=env) as second:
            assert second.exit_code() == 2
            assert "Address already in use" in second.said
        command.terminate()
        assert command.exit_code() == 0


def test_a_reader_that_goes_away_does_not_stop_the_worker(env: dict[str, str]) -> None:
    with start(env=env) as command:
        command.until("worker.up")
        command.stop_reading()
        command.terminate()
        assert command.exit_code() == 0


def test_a_reader_that_reads_no_more_does_not_stop_the_worker(
    env: dict[str, str], port: int
) -> None:
    with full_pipe() as unread:
        address = ("--health-host", "127.0.0.1", "--health-port", str(port))
        worker = subprocess.Popen(
            [*ACTOR_WORKER, "start", "--pool", "p", "--with-healthcheck", *address],
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=unread,
            stderr=unread,
        )
        try:
            healthy(port)
            worker.send_signal(signal.SIGUSR1)
            healthy(port)
            worker.terminate()
            assert worker.wait(PATIENCE_SECONDS) == 0
        finally:
            worker.kill()
            worker.wait()


def test_a_dump_comes_at_any_log_level_for_it_was_asked_for(
    env: dict[str, str], port: int
) -> None:
    address = ("--health-host", "127.0.0.1", "--health-port", str(port))
    options = ("--log-level", "CRITICAL", "--with-healthcheck", *address)
    with start(*options, env=env) as command:
        healthy(port)
        os.kill(command.pid, signal.SIGUSR1)
        command.until("dump.complete")
        command.terminate()
        assert command.exit_code() == 0


def test_under_nohup_sighup_is_ignored(env: dict[str, str]) -> None:
    nohup = ["nohup", *ACTOR_WORKER, "start", "--pool", "p", "--log-format", "json"]
    with Command(nohup, env=env) as command:
        command.until("worker.up")
        os.kill(command.pid, signal.SIGHUP)
        os.kill(command.pid, signal.SIGUSR1)  # is handled after the other
        command.until("dump.complete")
        assert "SIGHUP" not in command.said
        assert command.said.count("worker.up") == 1
        command.terminate()
        assert command.exit_code() == 0
