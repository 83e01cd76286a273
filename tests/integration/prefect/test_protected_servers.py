"""Servers that ask who is there: an authorization string, and CSRF tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.prefect.conftest import cleanly
from tests.integration.prefect.kit import Place
from tests.support.prefect_server import PrefectServer, interpreter

AUTH = "admin:a-secret-of-the-server"


@pytest.fixture(scope="module", params=["3.9", "3.1"])
def protected(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectServer]:
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"no interpreter has Prefect {request.param}")
    folder = tmp_path_factory.mktemp("protected")
    with PrefectServer(python, folder, auth_string=AUTH, csrf=True) as server:
        yield server


@pytest.fixture
def guarded(protected: PrefectServer, tmp_path: Path) -> Iterator[Place]:
    with cleanly(Place(protected, tmp_path)) as place:
        yield place


def test_engines_and_commands_run_on_a_server_that_asks_for_both(guarded: Place) -> None:
    place = guarded
    place.create_pool()
    env = {"env": {"NOTES": str(place.folder)}}
    flow = place.admin.create_run(place.deploy_flow("succeeds"), job_variables=env)
    command = place.run("true", report_states=True)
    with place.worker_program() as worker:
        assert place.state_once(flow)["type"] == "COMPLETED"
        assert place.state_once(command)["type"] == "COMPLETED"
    assert "a-secret-of-the-server" not in worker.printed


def test_a_wrong_authorization_string_is_said_in_words_and_nowhere_else(guarded: Place) -> None:
    wrong = {"PREFECT_API_AUTH_STRING": "admin:not-the-secret-at-all"}
    with guarded.worker_program("--run-once", variables=wrong) as worker:
        assert worker.ended() == 1
    assert "PREFECT_API_AUTH_STRING" in worker.printed
    assert "not-the-secret-at-all" not in worker.printed
