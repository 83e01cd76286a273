"""Every contract test runs against real servers, and against the in-memory one for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.contract.connection import connected
from tests.contract.worlds import FakeWorld, World
from tests.support.prefect_server import VERSIONS, PrefectServer
from tests.support.servers import prefect_3_0, prefect_3_1, prefect_3_8, prefect_3_9

__all__ = ["prefect_3_0", "prefect_3_1", "prefect_3_8", "prefect_3_9"]

Scenario = Callable[[World], Awaitable[None]]
Ask = Callable[[Scenario], None]


@pytest.fixture(
    scope="session",
    params=[f"{kind}-{series}" for series in VERSIONS for kind in ("fake", "real")],
)
def answering(request: pytest.FixtureRequest) -> PrefectServer | str:
    """A real server, or the version that the in-memory one plays."""
    kind, _, series = request.param.partition("-")
    if kind == "fake":
        return VERSIONS[series]
    server: PrefectServer = request.getfixturevalue(f"prefect_{series.replace('.', '_')}")
    return server


@pytest.fixture
def ask(answering: PrefectServer | str) -> Ask:
    """Runs a scenario against one kind of server."""

    async def run(scenario: Scenario) -> None:
        if isinstance(answering, str):
            await scenario(FakeWorld(answering))
            return
        async with connected(answering) as world:
            await scenario(world)

    return lambda scenario: asyncio.run(run(scenario))
