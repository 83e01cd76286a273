"""Exchanges that Prefect's own workers had with their servers, had again by our client.

``data/captured.json`` holds a few of each of 3.0.0, 3.1.15 and 3.8.8, as they were on the wire
but for the descriptions in job templates.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from actors.prefect_api.client import PrefectApi
from actors.prefect_api.http.session import Session
from actors.prefect_api.http.session_options import SessionOptions
from tests.support.http_server import Received, Reply, ScriptedServer
from tests.support.manual_clock import ManualClock

T = TypeVar("T")

Exchange = dict[str, Any]
CAPTURED: list[Exchange] = json.loads(
    (Path(__file__).with_name("data") / "captured.json").read_text()
)


def captured(what: str) -> pytest.MarkDecorator:
    """Parametrise with every captured exchange of this kind."""
    chosen = [exchange for exchange in CAPTURED if exchange["what"] == what]
    assert chosen
    return pytest.mark.parametrize("exchange", chosen, ids=[each["series"] for each in chosen])


def replay(
    exchange: Exchange, ask: Callable[[PrefectApi], Awaitable[T]], *more: Reply
) -> tuple[T, Received]:
    """What our client makes of the captured answer, and what it asked to get it."""
    server = ScriptedServer()
    server.script(Reply(exchange["status"], exchange["answer"]), *more)

    async def main() -> T:
        session = Session(SessionOptions(base_url=server.url), clock=ManualClock())
        try:
            return await ask(PrefectApi(session))
        finally:
            await session.aclose()

    with server:
        result = asyncio.run(main())
    received = server.received[0]
    assert received.method == exchange["method"]
    assert received.path.partition("?")[0] == exchange["path"]
    return result, received
