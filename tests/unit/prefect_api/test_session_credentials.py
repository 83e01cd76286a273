"""Keys that are rotated while a session is in use."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import Forbidden, Unauthorized
from actors.prefect_api.http.session import Session
from actors.prefect_api.http.session_options import Credentials
from tests.support.http_server import Handler, Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import run


async def get(session: Session, clock: ManualClock) -> Any:
    return await session.request("GET", "/thing")


async def the_new_key() -> Credentials:
    return Credentials(api_key="new")


REFUSALS = pytest.mark.parametrize(
    "refusal",
    [
        Reply(401, {"exception_message": "Unauthorized"}),
        Reply(403, {"detail": "Forbidden"}),
        Reply(403, b"<html>no entry</html>"),
    ],
    ids=["401", "403", "403 of a proxy"],
)


@REFUSALS
def test_a_rotated_key_is_read_again_and_used_at_once(refusal: Reply) -> None:
    server = ScriptedServer()
    server.script(refusal, Reply(200, "in"))
    answer = run(
        server,
        get,
        credentials=Credentials(api_key="old"),
        reread=the_new_key,
    )
    assert answer == "in"
    assert [r.headers["Authorization"] for r in server.received] == ["Bearer old", "Bearer new"]


@REFUSALS
def test_a_request_refused_beside_another_that_read_the_new_key_already_is_sent_again_too(
    refusal: Reply,
) -> None:
    both_are_there = threading.Barrier(2, timeout=60)

    def answer(handler: Handler) -> None:
        if handler.headers["Authorization"] == "Bearer new":
            Reply(200, "in")(handler)
            return
        both_are_there.wait()
        refusal(handler)

    async def scenario(session: Session, clock: ManualClock) -> list[Any]:
        return list(await asyncio.gather(get(session, clock), get(session, clock)))

    answers = run(
        ScriptedServer(default=answer),
        scenario,
        credentials=Credentials(api_key="old"),
        reread=the_new_key,
        start_concurrency=2,
    )
    assert answers == ["in", "in"]


def test_a_refusal_for_the_csrf_token_is_no_reason_to_look_for_another_key() -> None:
    async def never() -> Credentials:
        raise AssertionError("it was looked for")

    async def post(session: Session, clock: ManualClock) -> Any:
        return await session.request("POST", "/thing", body={})

    def answer(handler: Handler) -> None:
        if "/csrf-token" in handler.path:
            Reply(200, {"token": "t", "expiration": "2999-01-01T00:00:00Z"})(handler)
        else:
            Reply(403, {"detail": "Invalid CSRF token or client identifier."})(handler)

    with pytest.raises(Forbidden, match="CSRF"), capture_logs() as logs:
        run(
            ScriptedServer(default=answer),
            post,
            credentials=Credentials(api_key="old"),
            reread=never,
        )
    assert not [line for line in logs if line["event"] == "api.credentials_unreadable"]


def test_a_key_that_did_not_change_is_not_tried_twice() -> None:
    async def the_same() -> Credentials:
        return Credentials()

    async def unreadable() -> Credentials:
        raise OSError("no such profile")

    for reread in (the_same, unreadable):
        server = ScriptedServer(default=Reply(401, {"exception_message": "Unauthorized"}))
        with pytest.raises(Unauthorized):
            run(server, get, reread=reread)
        assert len(server.received) == 1
