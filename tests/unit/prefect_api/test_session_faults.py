"""A server that misbehaves: broken connections, garbage, answers without end or in drips."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from actors.domain.errors import InvalidRequest, Unavailable
from actors.prefect_api.http.session import Session
from tests.support.http_server import Handler, Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import STEADY, get, hanging, post_and_sleeps, run


def break_off(sent: bytes) -> Callable[[Handler], None]:
    return lambda handler: handler.break_off(sent)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"\x00\x01 what?\r\n\r\n",
    ],
)
def test_a_connection_that_breaks_is_made_anew(sent: bytes) -> None:
    server = ScriptedServer()
    server.script(break_off(sent), Reply(200, "ok"))
    answer, sleeps = run(server, post_and_sleeps, retry=STEADY, csrf=False)
    assert (answer, sleeps) == ("ok", [2])
    assert server.received[0].body == server.received[1].body


def test_a_server_that_goes_away_after_it_was_reached_is_waited_for() -> None:
    server = ScriptedServer()

    async def scenario(session: Session, clock: ManualClock) -> list[float]:
        server.__exit__(None, None, None)
        with pytest.raises(Unavailable, match="no answer"):
            await session.request("GET", "/thing")
        return clock.sleeps

    assert run(server, scenario, retry=STEADY, connected=True) == [2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Welcome</html>",
        b'{"a": ',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"a": 1} trailing',
    ],
)
def test_garbage_is_no_answer(body: bytes) -> None:
    server = ScriptedServer(default=Reply(200, body, content_type="text/html"))
    with pytest.raises(Unavailable, match="text/html"):
        run(server, get)
    with pytest.raises(Unavailable):
        run(ScriptedServer(default=Reply(500, body)), get)
    with pytest.raises(InvalidRequest):
        run(ScriptedServer(default=Reply(400, body)), get)


def test_damaged_compression_is_no_answer() -> None:
    server = ScriptedServer(default=Reply(200, b"not gzip", {"Content-Encoding": "gzip"}))
    with pytest.raises(Unavailable, match="compressed"):
        run(server, get)


def test_an_answer_without_end_is_cut_off() -> None:
    server = ScriptedServer(default=Reply(200, b'"' + b"x" * 100_000))
    with pytest.raises(Unavailable, match="larger than 1,000 bytes"):
        run(server, get, max_response_bytes=1000)


def drip(sent: bytes) -> Callable[[Handler], None]:
    return lambda handler: handler.hang(sent)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"H",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"',
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"',
    ],
)
def test_a_slow_drip_is_called_off_at_the_deadline_and_retried(sent: bytes) -> None:
    server = ScriptedServer()
    server.script(drip(sent), Reply(200, "ok"))

    async def scenario(session: Session, clock: ManualClock) -> Any:
        asking = asyncio.create_task(session.request("GET", "/thing"))
        await hanging(server)
        clock.advance(119)
        assert not asking.done()
        clock.advance(2)
        return await asking

    assert run(server, scenario) == "ok"


def test_a_read_timeout_is_a_timeout() -> None:
    server = ScriptedServer()
    server.script(drip(b""), Reply(200, "ok"))
    assert run(server, get, timeout_seconds=0.05) == "ok"


def test_a_cancelled_caller_gives_its_thread_back() -> None:
    server = ScriptedServer()
    server.script(drip(b"HTTP/1.1 200 OK\r\n"), Reply(200, "ok"))

    async def scenario(session: Session, clock: ManualClock) -> Any:
        asking = asyncio.create_task(session.request("GET", "/thing"))
        await hanging(server)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        return await session.request("GET", "/thing")

    assert run(server, scenario, max_concurrency=1) == "ok"


def test_closing_ends_what_is_under_way() -> None:
    server = ScriptedServer()
    server.script(drip(b""))

    async def scenario(session: Session, clock: ManualClock) -> None:
        asking = asyncio.create_task(session.request("GET", "/thing"))
        await hanging(server)
        await session.aclose()
        with pytest.raises(Unavailable, match="closed"):
            await asking
        with pytest.raises(Unavailable, match="closed"):
            await session.request("GET", "/thing")

    run(server, scenario)
