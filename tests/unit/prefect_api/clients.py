"""Sessions for tests: real sockets, a clock that moves by itself, no randomness."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from actors.prefect_api.http.retry import RetryPolicy
from actors.prefect_api.http.session import Session
from actors.prefect_api.http.session_options import Credentials, SessionOptions
from tests.support.http_server import Reply, ScriptedServer
from tests.support.manual_clock import ManualClock

T = TypeVar("T")

STEADY = RetryPolicy(jitter_factor=0)
BUSY = Reply(503, {"exception_message": "Service Unavailable"})


def lowest(low: float, high: float) -> float:
    """Draws the lower bound always."""
    return low


@asynccontextmanager
async def a_session(
    server: ScriptedServer,
    clock: ManualClock | None = None,
    *,
    reread: Callable[[], Awaitable[Credentials]] | None = None,
    connected: bool = False,
    **options: Any,
) -> AsyncIterator[Session]:
    """A session with ``server``; ``connected``: after a first good answer."""
    session = Session(
        SessionOptions(base_url=server.url, **options),
        clock=clock or ManualClock(),
        reread=reread,
        uniform=lowest,
    )
    try:
        if connected:
            await session.request("GET", "/health")
            server.received.clear()
        yield session
    finally:
        await session.aclose()


def run(
    server: ScriptedServer,
    scenario: Callable[[Session, ManualClock], Awaitable[T]],
    **options: Any,
) -> T:
    """The result of ``scenario`` with a session for ``server``, which is up meanwhile."""

    async def main() -> T:
        clock = ManualClock()
        async with a_session(server, clock, **options) as session:
            return await scenario(session, clock)

    with server:
        return asyncio.run(main())


async def hanging(server: ScriptedServer) -> None:
    """Return once the server has a client hanging, in :meth:`Handler.hang`."""
    call: Coroutine[Any, Any, None] = asyncio.to_thread(server.hanging.get, timeout=60)
    await call


async def get(session: Session, clock: ManualClock) -> Any:
    return await session.request("GET", "/thing")


async def post_and_sleeps(session: Session, clock: ManualClock) -> tuple[Any, list[float]]:
    return await session.request("POST", "/thing", body={"id": "x"}), clock.sleeps
