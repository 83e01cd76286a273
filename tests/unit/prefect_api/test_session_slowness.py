"""A server that is slow or hangs: who waits for whom, and what is logged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from structlog.testing import capture_logs

from actors.prefect_api.http.concurrency import Priority
from actors.prefect_api.http.session import Session
from tests.support.http_server import Handler, Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import hanging, run

PATIENCE = 60.0


def hang(handler: Handler) -> None:
    handler.hang()


def slowly(server: ScriptedServer, go: threading.Event) -> Callable[[Handler], None]:
    """An answer that comes when it may."""

    def answer(handler: Handler) -> None:
        server.hanging.put(None)
        assert go.wait(PATIENCE)
        Reply(200, "at last")(handler)

    return answer


def asked(session: Session, path: str, method: str = "POST", **how: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(session.request(method, path, **how))


async def call_off(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def test_a_poll_waits_for_nothing_else() -> None:
    server = ScriptedServer(default=Reply(200, "ok"))
    server.script(hang)

    async def scenario(session: Session, clock: ManualClock) -> Any:
        claim = asked(session, "/claim", priority=Priority.STATE)
        await hanging(server)
        next_claim = asked(session, "/claim", priority=Priority.STATE)
        answer = await asked(session, "/poll", priority=Priority.VITAL)
        assert not next_claim.done()
        await call_off(claim)
        await next_claim
        return answer

    assert run(server, scenario, csrf=False, max_concurrency=1) == "ok"


def test_a_request_that_hangs_holds_up_no_other_while_the_server_answers() -> None:
    server = ScriptedServer(default=Reply(200, "ok"))
    server.script(hang)

    async def scenario(session: Session, clock: ManualClock) -> Any:
        assert session.concurrency == 1
        claim = asked(session, "/claim", priority=Priority.STATE)
        await hanging(server)
        next_claim = asked(session, "/claim", priority=Priority.STATE)
        clock.advance(11)  # does it hang, or the whole server?
        await asked(session, "/poll", priority=Priority.VITAL)
        assert not next_claim.done()
        clock.advance(11)
        answer = await next_claim
        assert not claim.done()
        await call_off(claim)
        return answer

    assert run(server, scenario, csrf=False, start_concurrency=1) == "ok"


def test_a_hanging_poll_is_asked_again_each_time_with_more_patience() -> None:
    server = ScriptedServer(default=Reply(200, "ok"))
    server.script(hang, hang)

    async def scenario(session: Session, clock: ManualClock) -> Any:
        poll = asked(session, "/poll", priority=Priority.VITAL)
        await hanging(server)
        clock.advance(21)
        await hanging(server)
        clock.advance(21)
        assert not poll.done()
        clock.advance(20)
        return await poll

    assert run(server, scenario) == "ok"
    assert len(server.received) == 3


def test_an_answer_that_takes_far_longer_than_usual_halves_what_is_in_flight() -> None:
    server = ScriptedServer(default=Reply(200, "ok"))
    go = threading.Event()

    async def scenario(session: Session, clock: ManualClock) -> tuple[int, int]:
        await session.request("POST", "/thing")
        before = session.concurrency
        server.script(slowly(server, go))
        slow = asked(session, "/thing")
        await hanging(server)
        clock.advance(5)
        go.set()
        assert await slow == "at last"
        return before, session.concurrency

    assert run(server, scenario, csrf=False, start_concurrency=8) == (8, 4)


def test_a_server_that_hangs_is_logged_once_and_that_it_answers_again_once() -> None:
    server = ScriptedServer(default=Reply(200, "ok"))
    go = threading.Event()
    server.script(*[slowly(server, go)] * 3)

    async def scenario(session: Session, clock: ManualClock) -> None:
        claim = asked(session, "/claim", "GET", priority=Priority.STATE)
        await hanging(server)
        clock.advance(11)
        others = [
            asked(session, f"/{number}", "GET", priority=Priority.VITAL) for number in range(2)
        ]
        for _ in others:
            await hanging(server)
        clock.advance(11)
        go.set()
        await asyncio.gather(claim, *others)

    with capture_logs() as lines:
        run(server, scenario)
    assert [line["event"] for line in lines] == ["api.server_hangs", "api.server_answers"]
    hangs, answers = lines
    assert (hangs["request"], hangs["silent_seconds"]) == ("GET /claim", 11)
    assert answers["silent_seconds"] == 22


def test_one_request_that_hangs_while_others_are_answered_is_no_hanging_server() -> None:
    server = ScriptedServer(default=Reply(200, "ok"))
    server.script(hang)

    async def scenario(session: Session, clock: ManualClock) -> None:
        claim = asked(session, "/claim", priority=Priority.STATE)
        await hanging(server)
        clock.advance(5)
        await asked(session, "/poll", priority=Priority.VITAL)
        clock.advance(10)
        await call_off(claim)

    with capture_logs() as lines:
        run(server, scenario)
    assert lines == []


def test_what_is_read_waits_for_no_write() -> None:
    server = ScriptedServer(default=Reply(200, "ok"))
    server.script(hang)

    async def scenario(session: Session, clock: ManualClock) -> Any:
        claim = asked(session, "/claim", priority=Priority.STATE)
        await hanging(server)
        next_claim = asked(session, "/claim", priority=Priority.STATE)
        answer = await asked(session, "/deployment", "GET", priority=Priority.READ)
        assert not next_claim.done()
        await call_off(claim)
        await next_claim
        return answer

    assert run(server, scenario, csrf=False, max_concurrency=1) == "ok"
