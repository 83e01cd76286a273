"""A server that is busy, or announces maintenance: when it is asked again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import Unavailable
from actors.prefect_api.http.retry import RetryPolicy
from actors.prefect_api.http.session import Session
from tests.support.http_server import Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import BUSY, STEADY, a_session, get, post_and_sleeps, run


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
