"""Real servers of each series, a work pool and a folder per test, and what must be gone after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from actors.journal.state_folder import StateFolder
from tests.integration.keeper.kit import keepers_of, marked
from tests.integration.prefect.gallery import Gallery, take_pictures
from tests.integration.prefect.kit import Place, end_keepers
from tests.support.prefect_server import NEWEST, VERSIONS, PrefectServer
from tests.support.servers import prefect_3_0, prefect_3_1, prefect_3_8, prefect_3_9

__all__ = ["prefect_3_0", "prefect_3_1", "prefect_3_8", "prefect_3_9"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "series(*names): run the test on servers of these series of Prefect, '3.1' for instance; "
        "without it on the newest, and with no names on all of them",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for_each_series(metafunc, scope="session")


def for_each_series(metafunc: pytest.Metafunc, *, scope: Literal["module", "session"]) -> None:
    """Run the test once for each series that its mark names."""
    if "server" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("series")
        series = (NEWEST,) if mark is None else mark.args or tuple(VERSIONS)
        metafunc.parametrize("server", series, indirect=True, scope=scope)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> PrefectServer:
    """The shared server of the series that the test is run on; skips where there is none."""
    name = f"prefect_{request.param.replace('.', '_')}"
    server: PrefectServer = request.getfixturevalue(name)
    return server


@pytest.fixture
def place(server: PrefectServer, tmp_path: Path) -> Iterator[Place]:
    """An existing pool of the test's own, and its folder."""
    with cleanly(Place(server, tmp_path)) as place:
        place.create_pool()
        yield place


@pytest.fixture
def bare_place(server: PrefectServer, tmp_path: Path) -> Iterator[Place]:
    """The same without the pool."""
    with cleanly(Place(server, tmp_path)) as place:
        yield place


@pytest.fixture(scope="session")
def gallery(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """What became of every kind of flow on this server."""
    with cleanly(Place(server, tmp_path_factory.mktemp("gallery"))) as place:
        yield take_pictures(place)


@contextmanager
def cleanly(place: Place) -> Iterator[Place]:
    """A place where no keeper and no process of any run is left afterwards."""
    state = StateFolder(place.folder / "state")
    try:
        yield place
    finally:
        end_keepers(keepers_of(state))
    keys = os.listdir(state.runs) if state.runs.exists() else []
    assert marked(keys) == []
