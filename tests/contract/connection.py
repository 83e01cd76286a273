"""The adapters for a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from actors.prefect_api.client import PrefectApi
from actors.prefect_api.http.session import Session
from actors.prefect_api.http.session_options import Credentials, SessionOptions
from actors.prefect_api.http.threads import ThreadPool
from actors.prefect_api.stream import PrefectEventStream
from actors.runtime import LoopClock
from tests.contract.worlds import RealWorld
from tests.support.prefect_server import PrefectServer


@asynccontextmanager
async def connected(
    server: PrefectServer, credentials: Credentials | None = None
) -> AsyncIterator[RealWorld]:
    """A world on ``server`` over the adapters, of which nothing is left afterwards."""
    clock = LoopClock()
    used = credentials or Credentials(auth_string=server.auth_string)
    options = SessionOptions(base_url=server.api_url, credentials=used)

    async def current() -> Credentials:
        return used

    threads = ThreadPool(1, name="files")
    session = Session(options, clock=clock)
    stream = PrefectEventStream(options, credentials=current, clock=clock, threads=threads)
    try:
        yield RealWorld(PrefectApi(session), stream, server)
    finally:
        await threads.aclose()
        await session.aclose()
