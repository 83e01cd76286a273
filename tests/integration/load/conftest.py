"""Real servers for loads, as the tests of features have them."""

from __future__ import annotations

import pytest

from tests.integration.prefect.conftest import for_each_series, place, pytest_configure
from tests.support.servers import own_server as server

__all__ = ["place", "pytest_configure", "server"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for_each_series(metafunc, scope="module")
