"""The servers and places of the tests against real Prefects, with a fault proxy before them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.faults.scene import Scene
from tests.integration.prefect.conftest import for_each_series, place, pytest_configure
from tests.integration.prefect.kit import Place
from tests.support.fault_proxy import FaultProxy
from tests.support.servers import own_server as server

__all__ = ["place", "pytest_configure", "server"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for_each_series(metafunc, scope="module")


@pytest.fixture
def scene(place: Place, port: int) -> Iterator[Scene]:
    """A pool, a proxy before its server, and a state folder for workers that follow each other."""
    with FaultProxy(place.server.port, port) as proxy, Scene(place, proxy) as scene:
        yield scene
