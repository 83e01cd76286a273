"""``actor-worker quickstart`` from start to removal, with a real Prefect server."""

from __future__ import annotations

import base64
import functools
import importlib.metadata
import json
import re
import socket
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import psutil
import pytest

from actors.cli.quickstart.folder import QuickstartFolder
from actors.cli.quickstart.program import MARK
from tests.acceptance.command import ACTOR_WORKER, Command, environment
from tests.support.prefect_server import NEWEST, interpreter

ENDINGS = {
    "succeeds": "Completed",
    "fails": "Failed",
    "crashes": "Crashed",
    "gets-cancelled": "Cancelled",
}


@pytest.fixture
def python() -> str:
    found = interpreter(NEWEST)
    if found is None:
        pytest.skip(f"no interpreter with Prefect {NEWEST}: run the tests with python3 -m tests")
    try:
        importlib.metadata.version("actor-worker")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the worker it starts has to be installed: python3 -m tests does it")
    return found


def quickstart(folder: Path, *arguments: str) -> Command:
    argv = [*ACTOR_WORKER, "quickstart", "--dir", str(folder), *arguments]
    return Command(argv, env=environment())


def rows(said: str) -> dict[str, tuple[str, str]]:
    """The table: from each flow to its state and the address of its page."""
    found = re.findall(r"^([\w-]+) +(\w+) +[\d.]+ s +(http://\S+)$", said, re.MULTILINE)
    return {flow: (state, page) for flow, state, page in found}


def status(
    request: urllib.request.Request, authorization: str | None = None
) -> tuple[int, Message]:
    """The status and the headers of the answer, with an authorization or without."""
    if authorization is not None:
        token = base64.b64encode(authorization.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, error.headers


def left_by(folder: Path) -> list[str]:
    """The command lines of processes that this quickstart has left."""
    mark = str(QuickstartFolder(folder).temporary)
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                left.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return left


def only_the_user_writes_to_the_server(folder: Path, page: str) -> None:
    address = f"http://{page.split('/')[2]}"
    write = functools.partial(
        urllib.request.Request,
        f"{address}/api/variables/",
        data=json.dumps({"name": "written", "value": 1}).encode(),
        method="POST",
    )
    headers = {"Content-Type": "application/json", "Origin": "http://elsewhere.example"}
    rebound = {**headers, "Host": "elsewhere.example", "Origin": "http://elsewhere.example"}
    for foreign in (headers, rebound):
        code, answer = status(write(headers=foreign))
        assert code == 401
        assert answer["Access-Control-Allow-Origin"] is None
    authorization = QuickstartFolder(folder).authorization
    assert status(write(headers=headers), authorization + "x")[0] == 401
    assert status(write(headers=headers), authorization)[0] == 201


def test_four_runs_end_as_they_should_and_nothing_is_left(tmp_path: Path, python: str) -> None:
    folder = tmp_path / "quickstart"
    with quickstart(folder, "--python", python) as command:
        command.until("Ctrl-C ends both.")
        table = rows(command.said)
        assert {flow: state for flow, (state, _) in table.items()} == ENDINGS
        assert "ValueError: this flow fails on purpose" in command.said
        assert "SIGKILL" in command.said

        _, page = table["succeeds"]
        assert "/v2/" in page  # Prefect 3.8's pages that ask for the authorization
        request = urllib.request.Request(page, headers={"Accept": "text/html"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            assert b"<title>Prefect" in answer.read()

        only_the_user_writes_to_the_server(folder, page)
        password = QuickstartFolder(folder).authorization.partition(":")[2]
        for public in (
            command.said,
            "\n".join(left_by(folder)),
            *(log.read_text() for log in folder.glob("*.log")),
        ):
            assert password not in public

        for arguments in (["--once"], ["--remove"]):
            with quickstart(folder, *arguments) as second:
                assert second.exit_code() == 1
                assert f"pid {command.pid}" in second.said

        command.interrupt()
        assert command.exit_code() == 0
    assert left_by(folder) == []
    port = int(page.split("/")[2].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        pass

    with quickstart(folder, "--remove") as command:
        assert command.exit_code() == 0
        assert f"Removed {folder}" in command.said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_once_ends_by_itself_also_after_one_that_was_killed(tmp_path: Path, python: str) -> None:
    folder = tmp_path / "quickstart"
    with quickstart(folder, "--python", python) as killed:
        killed.until("Starting a worker")
        psutil.Process(killed.pid).kill()
        assert killed.exit_code() == -9
    assert left_by(folder) != []
    with quickstart(folder, "--python", python, "--once") as command:
        assert command.exit_code() == 0
        assert {flow: state for flow, (state, _) in rows(command.said).items()} == ENDINGS
    assert left_by(folder) == []


def test_an_interpreter_without_prefect_is_a_clear_error(tmp_path: Path) -> None:
    without = tmp_path / "python"
    without.write_text("#!/bin/sh\necho none\n")
    without.chmod(0o755)
    with quickstart(tmp_path / "quickstart", "--python", str(without)) as command:
        assert command.exit_code() == 2
        assert f"{without} has no Prefect" in command.said
    assert not (tmp_path / "quickstart").exists()
