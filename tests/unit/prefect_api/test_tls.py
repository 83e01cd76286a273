from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.domain.errors import Unavailable
from actors.prefect_api.http.session import Session
from tests.support.http_server import CERTIFICATE, Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import hanging, run


async def get(session: Session, clock: ManualClock) -> Any:
    return await session.request("GET", "/thing")


def test_a_certificate_that_nobody_vouches_for_is_not_trusted_and_not_retried() -> None:
    async def scenario(session: Session, clock: ManualClock) -> list[float]:
        with pytest.raises(Unavailable, match="PREFECT_API_SSL_CERT_FILE"):
            await session.request("GET", "/thing")
        return clock.sleeps

    server = ScriptedServer(tls=True)
    assert run(server, scenario) == []
    assert not server.received


def test_a_file_of_authorities_makes_it_trusted() -> None:
    server = ScriptedServer(tls=True, default=Reply(200, "ok"))
    assert run(server, get, verify=str(CERTIFICATE)) == "ok"


def test_checking_can_be_switched_off(recwarn: pytest.WarningsRecorder) -> None:
    server = ScriptedServer(tls=True, default=Reply(200, "ok"))
    assert run(server, get, verify=False) == "ok"
    assert not recwarn.list  # said once at the start, not at each request


def test_a_slow_drip_is_called_off() -> None:
    server = ScriptedServer(tls=True)
    server.script(lambda handler: handler.hang(b"HTTP/1.1 200 OK\r\n"), Reply(200, "ok"))

    async def scenario(session: Session, clock: ManualClock) -> Any:
        asking = asyncio.create_task(session.request("GET", "/thing"))
        await hanging(server)
        clock.advance(121)
        return await asking

    assert run(server, scenario, verify=str(CERTIFICATE)) == "ok"
