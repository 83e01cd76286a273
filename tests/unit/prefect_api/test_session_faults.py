"""A server that misbehaves: retries, garbage, redirects, drips, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import InvalidRequest, Unavailable
from actors.prefect_api.http.retry import RetryPolicy
from actors.prefect_api.http.session import Session
from tests.support.http_server import Handler, Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import a_session, hanging, run

STEADY = RetryPolicy(jitter_factor=0)
BUSY = Reply(503, {"exception_message": "Service Unavailable"})


class SleepingClock(ManualClock):
    """Whoever sleeps does so until he is woken."""

    async def sleep(self, delay: float) -> None:
        self.sleeps.append(delay)
        await asyncio.get_running_loop().create_future()

    async def slept_for(self) -> float:
        """The seconds of the first sleep, once somebody sleeps."""
        while not self.sleeps:  # noqa: ASYNC110  # real I/O comes before it
            await asyncio.sleep(0.001)
        return self.sleeps[0]


async def get(session: Session, clock: ManualClock) -> Any:
    return await session.request("GET", "/thing")


async def post_and_sleeps(session: Session, clock: ManualClock) -> tuple[Any, list[float]]:
    return await session.request("POST", "/thing", body={"id": "x"}), clock.sleeps


def test_a_busy_server_is_asked_again_with_the_same_body_up_the_ladder() -> None:
    server = ScriptedServer()
    server.script(BUSY, BUSY, Reply(429), Reply(502), Reply(408), Reply(200, "ok"))
    answer, sleeps = run(server, post_and_sleeps, retry=STEADY)
    assert (answer, sleeps) == ("ok", [2, 4, 8, 16, 32])
    assert len({received.body for received in server.received}) == 1
    assert len(server.received) == 6


def test_after_the_last_retry_the_servers_word_is_final() -> None:
    server = ScriptedServer(default=BUSY)
    with pytest.raises(Unavailable, match="Service Unavailable") as caught:
        run(server, get, retry=RetryPolicy(max_retries=2))
    assert caught.value.status == 503
    assert len(server.received) == 3


def test_retry_after_is_obeyed() -> None:
    server = ScriptedServer()
    server.script(
        Reply(429, headers={"Retry-After": "7.5"}),
        Reply(503, headers={"Retry-After": "Tue, 01 Jan 2030 00:01:00 GMT"}),
        Reply(503, headers={"Retry-After": "later"}),
    )
    _, sleeps = run(server, post_and_sleeps, retry=STEADY)
    assert sleeps == [7.5, 52.5, 8]


def test_extra_codes_are_retried() -> None:
    server = ScriptedServer()
    server.script(Reply(404, {"detail": "x not found"}), Reply(200, "ok"))
    assert run(server, get, retry=RetryPolicy(extra_codes=frozenset({404}))) == "ok"


def test_announced_maintenance_is_waited_out_past_all_limits() -> None:
    server = ScriptedServer()
    under_maintenance = Reply(503, headers={"Prefect-Maintenance": "true", "Retry-After": "60"})
    server.script(*[under_maintenance] * 20, BUSY, Reply(200, "ok"))
    answer, sleeps = run(server, post_and_sleeps, retry=STEADY, total_seconds=100)
    assert (answer, sum(sleeps)) == ("ok", 20 * 60 + 2)


def test_it_tells_until_when_maintenance_was_announced_and_that_it_is_over() -> None:
    told: list[float | None] = []
    sessions: list[Session] = []

    class Watch(ManualClock):
        async def sleep(self, delay: float) -> None:
            told.append(sessions[0].maintenance_until)
            await super().sleep(delay)

    async def story() -> None:
        async with a_session(server, Watch()) as session:
            sessions.append(session)
            told.append(session.maintenance_until)
            await session.request("GET", "/thing")
            told.append(session.maintenance_until)

    server = ScriptedServer()
    headers = {"Prefect-Maintenance": "true", "Retry-After": "60"}
    server.script(Reply(503, headers=headers), Reply(503, headers=headers), Reply(200, "ok"))
    with server:
        asyncio.run(story())
    before, first, second, after = told
    assert before is None
    assert first is not None
    assert second is not None
    assert 60 <= first < second
    assert after == second


def test_maintenance_that_was_announced_for_ever_ends_with_the_first_answer() -> None:
    headers = {"Prefect-Maintenance": "true", "Retry-After": "1000000000"}
    server = ScriptedServer(default=Reply(200, "ok"))
    server.script(Reply(503, headers=headers))

    async def story() -> Any:
        clock = SleepingClock()
        async with a_session(server, clock) as session:
            polling = asyncio.create_task(session.request("GET", "/poll"))
            assert await clock.slept_for() == 3600
            assert await session.request("GET", "/beat") == "ok"
            assert not polling.done()  # it has only just lain down
            clock.advance(30)
            assert await session.request("GET", "/beat") == "ok"
            return await polling

    with server, capture_logs() as lines:
        assert asyncio.run(story()) == "ok"
    [line] = lines
    assert line["event"] == "api.told_to_wait"
    assert (line["asked_seconds"], line["granted_seconds"]) == (1e9, 3600)


def test_closing_wakes_who_waits_for_the_end_of_maintenance() -> None:
    headers = {"Prefect-Maintenance": "true", "Retry-After": "60"}
    server = ScriptedServer(default=Reply(503, headers=headers))

    async def story() -> None:
        clock = SleepingClock()
        async with a_session(server, clock) as session:
            asking = asyncio.create_task(session.request("GET", "/thing"))
            await clock.slept_for()
        with pytest.raises(Unavailable, match="closed"):
            await asking

    with server:
        asyncio.run(story())


def test_no_retry_goes_past_the_total_deadline() -> None:
    server = ScriptedServer(default=BUSY)
    with pytest.raises(Unavailable):
        run(server, get, retry=STEADY, total_seconds=10)
    assert len(server.received) == 3  # after 2 and 4 seconds; 8 more would be too long


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


def test_an_overloaded_server_gets_fewer_requests_at_once() -> None:
    server = ScriptedServer()
    server.script(BUSY)

    async def scenario(session: Session, clock: ManualClock) -> None:
        assert session.concurrency == 8
        await session.request("POST", "/thing")
        assert session.concurrency == 4
        for _ in range(100):  # one after the other: that tells nothing of how many it bears
            await session.request("POST", "/thing")
        assert session.concurrency == 4

    run(server, scenario, csrf=False, start_concurrency=8)
