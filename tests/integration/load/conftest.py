"""Real servers for loads, as the tests of features have them."""

from __future__ import annotations

from tests.integration.prefect.conftest import (
    place,
    prefect_3_0,
    prefect_3_1,
    prefect_3_8,
    pytest_configure,
    pytest_generate_tests,
    server,
)

__all__ = [
    "place",
    "prefect_3_0",
    "prefect_3_1",
    "prefect_3_8",
    "pytest_configure",
    "pytest_generate_tests",
    "server",
]
