"""The servers and places of the tests against real Prefects, with a fault proxy before them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.faults.scene import Scene
from tests.integration.prefect.conftest import (
    place,
    pytest_configure,
    pytest_generate_tests,
    server,
)
from tests.integration.prefect.kit import Place
from tests.support.fault_proxy import FaultProxy
from tests.support.servers import prefect_3_1, prefect_3_8

__all__ = [
    "place",
    "prefect_3_1",
    "prefect_3_8",
    "pytest_configure",
    "pytest_generate_tests",
    "server",
]


@pytest.fixture
def scene(place: Place, port: int) -> Iterator[Scene]:
    """A pool, a proxy before its server, and a state folder for workers that follow each other."""
    with FaultProxy(place.server.port, port) as proxy, Scene(place, proxy) as scene:
        yield scene
