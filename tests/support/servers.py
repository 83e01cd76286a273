"""Fixtures that give tests a real Prefect server, one per version and test session.

Starting one takes ten seconds, so those who need no special settings share it; use names of
your own for pools and deployments. Import the fixtures into the ``conftest.py`` that needs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.prefect_server import VERSIONS, PrefectServer, interpreter


@dataclass
class _Shared:
    server: PrefectServer
    users: int = 0


_shared: dict[str, _Shared] = {}
"""One per series, also when several ``conftest.py`` import the fixtures below."""


def ends_of_logs(characters: int = 6_000) -> Iterator[tuple[str, str]]:
    """What each shared server that runs printed last, with the name of its series."""
    for series, shared in _shared.items():
        yield series, shared.server.log[-characters:]


def _interpreter_or_skip(series: str) -> str:
    python = interpreter(series)
    if python is None:
        name = f"ACTOR_WORKER_TEST_PREFECT_{series.replace('.', '_')}"
        pytest.skip(f"{name} names no Python that has Prefect {series}")
    return python


@contextmanager
def shared_server(series: str, folder: Path) -> Iterator[PrefectServer]:
    """The session's server of this series; skips where no interpreter has that Prefect."""
    python = _interpreter_or_skip(series)
    if series not in _shared:
        server = PrefectServer(python, folder / f"prefect-{series}")
        server.start()
        _shared[series] = _Shared(server)
    shared = _shared[series]
    shared.users += 1
    try:
        yield shared.server
    finally:
        shared.users -= 1
        if not shared.users:
            del _shared[series]
            shared.server.stop()


def _shared_by_the_session(series: str) -> Any:
    @pytest.fixture(scope="session", name=f"prefect_{series.replace('.', '_')}")
    def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
        with shared_server(series, tmp_path_factory.mktemp("server")) as server:
            yield server

    return shared


prefect_3_9, prefect_3_8, prefect_3_1, prefect_3_0 = map(_shared_by_the_session, VERSIONS)


@pytest.fixture(scope="module")
def own_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectServer]:
    """A server for the tests of one file; the parameter is its series.

    For tests that put a server under stress. Prefect 3.1 remembers only the last thousand events
    that it received. When a worker sends some thirty older ones again, because the answer got
    lost, the server tries in vain to store them in SQLite, and stores no other event until it is
    restarted.
    """
    series: str = request.param
    folder = tmp_path_factory.mktemp("server")
    with PrefectServer(_interpreter_or_skip(series), folder) as server:
        yield server
