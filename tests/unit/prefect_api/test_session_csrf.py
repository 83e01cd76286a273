"""The token of servers with CSRF protection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.domain.errors import Forbidden, Unauthorized, Unavailable
from actors.prefect_api.http.retry import RetryPolicy
from actors.prefect_api.http.session import Session
from tests.support.http_server import Received, Reply, Script, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import run

INVALID = Reply(403, {"detail": "Invalid CSRF token or client identifier."})
MISSING = Reply(403, {"detail": "Missing CSRF token."})


class ProtectedServer(ScriptedServer):
    """Gives tokens ``t1``, ``t2``... and takes the newest one only."""

    def __init__(self) -> None:
        super().__init__(default=Reply(200, "done"), csrf=True)
        self.tokens = 0
        self.protects = True

    def next_script(self, received: Received) -> Script:
        script = super().next_script(received)
        if "/csrf-token" in received.path:
            if not self.protects:
                return Reply(422, {"detail": "CSRF protection is disabled."})
            self.tokens += 1
            return Reply(200, {"token": f"t{self.tokens}"})
        if received.method == "GET" or not self.protects:
            return script
        token = received.headers["Prefect-Csrf-Token"]
        if token is None:
            return MISSING
        return script if token == f"t{self.tokens}" else INVALID


async def post(session: Session, clock: ManualClock) -> Any:
    return await session.request("POST", "/thing", body={})


async def twice(session: Session, clock: ManualClock) -> None:
    await session.request("GET", "/thing")
    await session.request("POST", "/thing", body={})
    await session.request("DELETE", "/thing")


def paths(server: ScriptedServer) -> list[str]:
    return [received.path.partition("?")[0] for received in server.received]


def test_the_first_change_fetches_a_token_and_further_ones_use_it() -> None:
    server = ProtectedServer()
    run(server, twice)
    assert paths(server) == ["/api/thing", "/api/csrf-token", "/api/thing", "/api/thing"]
    read, fetch, first, second = server.received
    assert read.headers["Prefect-Csrf-Token"] is None
    client = first.headers["Prefect-Csrf-Client"]
    assert fetch.path.endswith(f"?client={client}")
    assert second.headers["Prefect-Csrf-Client"] == client


@pytest.mark.parametrize(
    "answer",
    [Reply(422, {"detail": "CSRF protection is disabled."}), Reply(404, {"detail": "Not Found"})],
)
def test_a_server_without_protection_is_asked_once(answer: Reply) -> None:
    server = ScriptedServer(csrf=True)
    server.script(Reply(), answer)
    run(server, twice)
    assert paths(server).count("/api/csrf-token") == 1
    assert server.received[-1].headers["Prefect-Csrf-Token"] is None


def test_switched_off_means_no_token_and_a_final_refusal() -> None:
    server = ProtectedServer()
    with pytest.raises(Forbidden, match="Missing CSRF token"):
        run(server, post, csrf=False)
    assert paths(server) == ["/api/thing"]


def test_a_refused_token_is_replaced_and_the_same_body_sent_again_after_a_wait() -> None:
    async def scenario(session: Session, clock: ManualClock) -> list[float]:
        await session.request("POST", "/thing", body={"n": 1})
        server.tokens += 1  # the token has expired, or the server is another one
        await session.request("POST", "/thing", body={"n": 2})
        return clock.sleeps

    server = ProtectedServer()
    assert run(server, scenario, retry=RetryPolicy(jitter_factor=0)) == [2]
    posts = [received for received in server.received if received.method == "POST"]
    assert [received.json for received in posts] == [{"n": 1}, {"n": 2}, {"n": 2}]


def test_protection_that_is_switched_on_later_is_noticed() -> None:
    async def scenario(session: Session, clock: ManualClock) -> Any:
        await session.request("POST", "/thing", body={})
        server.protects = True
        return await session.request("POST", "/thing", body={})

    server = ProtectedServer()
    server.protects = False
    assert run(server, scenario) == "done"


def test_other_refusals_are_final() -> None:
    server = ProtectedServer()
    server.script(Reply(200, "the token's place"), Reply(403, {"detail": "not yours"}))
    with pytest.raises(Forbidden, match="not yours"):
        run(server, post)


def test_changes_at_once_share_one_token() -> None:
    async def scenario(session: Session, clock: ManualClock) -> None:
        await asyncio.gather(*(session.request("POST", "/x", body={}) for _ in range(10)))

    server = ProtectedServer()
    run(server, scenario)
    assert server.tokens == 1


def test_changes_that_waited_for_a_failing_fetch_share_its_failure() -> None:
    async def scenario(session: Session, clock: ManualClock) -> list[Any]:
        asked = (session.request("POST", "/x", body={}) for _ in range(4))
        return await asyncio.gather(*asked, return_exceptions=True)

    server = ScriptedServer(csrf=True, default=Reply(401, {"exception_message": "Unauthorized"}))
    errors = run(server, scenario)
    assert [type(error) for error in errors] == [Unauthorized] * 4
    assert len(server.received) == 1


@pytest.mark.parametrize("body", [None, [], {}, {"token": 3}, {"token": "a\nb"}, {"token": "ü"}])
def test_a_token_that_cannot_be_sent_is_no_answer(body: Any) -> None:
    with pytest.raises(Unavailable, match="no token"):
        run(ScriptedServer(csrf=True, default=Reply(200, body)), post)
