"""A server with credentials, CSRF protection and a low limit of items in an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from actors.domain.errors import Forbidden, Unauthorized
from actors.domain.model import StateType
from actors.prefect_api.client import PrefectApi
from actors.prefect_api.http.session import Session
from actors.prefect_api.http.session_options import Credentials, SessionOptions
from actors.runtime import LoopClock
from tests.contract.connection import connected
from tests.contract.test_event_stream import heard
from tests.support.prefect_server import PrefectServer, interpreter

LIMIT = 2
SETTINGS = {
    "PREFECT_API_DEFAULT_LIMIT": str(LIMIT),
    "PREFECT_SERVER_API_DEFAULT_LIMIT": str(LIMIT),
}


@pytest.fixture(scope="module", params=["3.9", "3.1"])
def protected(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectServer]:
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"no Prefect {request.param} is named for tests")
    folder = tmp_path_factory.mktemp("protected")
    with PrefectServer(
        python, folder, auth_string="admin:sesame", csrf=True, settings=SETTINGS
    ) as server:
        yield server


def ask_with(
    server: PrefectServer, credentials: Credentials, ask: Callable[[PrefectApi], Awaitable[object]]
) -> None:
    async def main() -> None:
        options = SessionOptions(base_url=server.api_url, credentials=credentials)
        session = Session(options, clock=LoopClock())
        try:
            await ask(PrefectApi(session))
        finally:
            await session.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "credentials",
    [Credentials(), Credentials(auth_string="admin:wrong"), Credentials(api_key="admin:sesame")],
    ids=["none", "wrong", "key"],
)
def test_without_the_authorization_string_everything_is_unauthorized(
    protected: PrefectServer, credentials: Credentials
) -> None:
    with pytest.raises(Unauthorized, match="PREFECT_API_AUTH_STRING"):
        ask_with(protected, credentials, lambda api: api.read_work_pool("p"))
    with pytest.raises(Unauthorized):
        ask_with(protected, credentials, lambda api: api.create_work_pool("p", "process", None))


def test_with_it_changes_are_made(protected: PrefectServer) -> None:
    async def scenario() -> None:
        async with connected(protected) as world:
            api = world.orchestrator
            names = {f"w{n}" for n in range(4)}
            await asyncio.gather(*(api.send_heartbeat(world.pool, name, 30) for name in names))
            assert world.workers().keys() == names
            created = await api.create_work_pool("guarded", "process", None)
            assert await api.read_work_pool("guarded") == created

    asyncio.run(scenario())


def test_every_page_is_read_however_small(protected: PrefectServer) -> None:
    async def scenario() -> None:
        async with connected(protected) as world:
            api = world.orchestrator
            deployment = world.deploy()
            runs = [world.schedule(deployment) for _ in range(2 * LIMIT + 1)]
            world.add_queue("a", 1)
            world.add_queue("b", 1)
            assert len(await api.read_work_queues(world.pool, [])) == 3
            for run in runs:
                world.set_state(run, StateType.RUNNING)
                world.set_state(run, StateType.CANCELLING)
            found = await api.read_cancelling_runs(world.pool, [], excluding=runs[:1])
            assert {run.id for run in found} == set(runs[1:])

    asyncio.run(scenario())


def test_with_it_events_are_heard(protected: PrefectServer) -> None:
    async def scenario() -> None:
        async with connected(protected) as world, heard(world):
            pass

    asyncio.run(scenario())


def test_without_it_no_events_are_heard(protected: PrefectServer) -> None:
    async def scenario() -> None:
        async with connected(protected, Credentials(auth_string="admin:wrong")) as world:
            if world.version < (3, 4):
                pytest.skip("this server asks for no credentials here")
            with pytest.raises(Forbidden) as caught:
                async with world.event_stream.subscribe(world.pool, ()) as events:
                    await anext(events)
            assert "wrong" not in str(caught.value)

    asyncio.run(scenario())
