"""What goes out on the wire, and how plain answers come back."""

from __future__ import annotations

import asyncio
import gzip
import json
from base64 import b64encode
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import pytest

from actors.domain.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from actors.prefect_api.http.responses import RouteMissing
from actors.prefect_api.http.retry import RetryPolicy
from actors.prefect_api.http.session import Session
from actors.prefect_api.http.session_options import Credentials, SessionOptions
from tests.support.http_server import Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import run


async def get(session: Session, clock: ManualClock) -> Any:
    return await session.request("GET", "/thing")


async def post(session: Session, clock: ManualClock) -> Any:
    return await session.request("POST", "/thing", body={"a": 1})


def sent_headers(server: ScriptedServer, **options: Any) -> dict[str, str]:
    run(server, get, **options)
    return {name.lower(): value for name, value in server.received[0].headers.items()}


def test_a_request_has_the_headers_that_servers_expect() -> None:
    headers = sent_headers(ScriptedServer(), user_agent="actor-worker/1.0")
    assert headers["x-prefect-api-version"] == "0.8.4"
    assert headers["user-agent"] == "actor-worker/1.0"
    assert headers["accept-encoding"] == "gzip, deflate"
    assert "authorization" not in headers
    assert "content-type" not in headers


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Worker 1", "Worker 1"),
        ("Wörker\r\nX: 1", "W%C3%B6rker%0D%0AX: 1"),
        (" padded ", "padded"),
    ],
)
def test_a_request_names_its_worker(name: str, header: str) -> None:
    assert sent_headers(ScriptedServer(), worker=name)["x-prefect-worker-name"] == header


def test_the_path_is_relative_to_the_api_url() -> None:
    server = ScriptedServer()
    run(server, get)
    assert server.received[0].path == "/api/thing"


def test_an_authorization_string_wins_over_a_key() -> None:
    both = Credentials(api_key="key", auth_string="user:pass")
    headers = sent_headers(ScriptedServer(), credentials=both)
    assert headers["authorization"] == f"Basic {b64encode(b'user:pass').decode()}"
    headers = sent_headers(ScriptedServer(), credentials=Credentials(api_key="key"))
    assert headers["authorization"] == "Bearer key"


def test_custom_headers_are_sent_but_cannot_pose_as_another_client() -> None:
    headers = sent_headers(
        ScriptedServer(),
        custom_headers={"X-Team": "data", "User-Agent": "prefect/3.0.0 (API 0.8.4)"},
        user_agent="actor-worker/1.0",
    )
    assert headers["x-team"] == "data"
    assert headers["user-agent"] == "actor-worker/1.0"


def test_custom_headers_may_replace_the_authorization() -> None:
    headers = sent_headers(
        ScriptedServer(),
        custom_headers={"authorization": "Bearer mine"},
        credentials=Credentials(api_key="key"),
    )
    assert headers["authorization"] == "Bearer mine"


def test_bodies_are_json_whatever_types_hold_them() -> None:
    async def scenario(session: Session, clock: ManualClock) -> None:
        body = {
            "map": MappingProxyType({"a": (1, 2)}),
            "when": datetime(2026, 1, 1, tzinfo=UTC),
            "half a surrogate": "\udc80!",
        }
        await session.request("POST", "/thing", body=body)

    server = ScriptedServer()
    run(server, scenario)
    [received] = server.received
    assert received.json == {
        "map": {"a": [1, 2]},
        "when": "2026-01-01T00:00:00+00:00",
        "half a surrogate": "?!",
    }
    assert received.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": object()}, {"a": b"bytes"}])
def test_what_is_no_json_is_refused_before_it_is_sent(body: Any) -> None:
    async def scenario(session: Session, clock: ManualClock) -> None:
        with pytest.raises(InvalidRequest):
            await session.request("POST", "/thing", body=body)

    server = ScriptedServer()
    run(server, scenario)
    assert not server.received


def test_an_empty_answer_is_none() -> None:
    assert run(ScriptedServer(default=Reply(204)), get) is None
    assert run(ScriptedServer(default=Reply(201, b"")), get) is None


def test_compressed_answers_are_read() -> None:
    body = gzip.compress(json.dumps({"a": "b" * 5000}).encode())
    server = ScriptedServer(default=Reply(200, body, {"Content-Encoding": "gzip"}))
    assert run(server, get) == {"a": "b" * 5000}


def test_text_that_no_file_could_take_is_mended() -> None:
    server = ScriptedServer(default=Reply(200, b'{"\\ud800": ["a\\uDC00b", "\\ud83d\\ude00"]}'))
    assert run(server, get) == {"\ufffd": ["a\ufffdb", "\U0001f600"]}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, {"detail": "bad version"}, InvalidRequest, "bad version"),
        (401, {"exception_message": "Unauthorized"}, Unauthorized, "PREFECT_API_AUTH_STRING"),
        (403, {"detail": "reserved"}, Forbidden, "reserved"),
        (404, {"detail": "Flow not found"}, NotFound, "Flow not found"),
        (404, {"exception_message": "Flow run with id x not found"}, NotFound, "id x"),
        (404, {"detail": "Not Found"}, RouteMissing, "PREFECT_API_URL"),
        (404, b"<html>no such site</html>", RouteMissing, "PREFECT_API_URL"),
        (405, {"detail": "Method Not Allowed"}, InvalidRequest, "PREFECT_API_URL"),
        (409, {"detail": "exists"}, Conflict, "exists"),
        (423, {"detail": "Locked"}, InvalidRequest, "Locked"),
        (500, {"exception_message": "Internal Server Error"}, Unavailable, "Internal"),
        (504, b"gateway", Unavailable, "504"),
        (599, None, Unavailable, "599"),
        (304, None, Unavailable, "304"),
    ],
)
def test_each_failure_has_its_kind_and_says_what_to_do(
    status: int, body: Any, kind: type[OrchestratorError], words: str
) -> None:
    server = ScriptedServer(default=Reply(status, body))
    with pytest.raises(kind, match=words) as caught:
        run(server, post)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert len([r for r in server.received if r.method == "POST"]) == 1


def test_validation_problems_are_named_without_their_values() -> None:
    problem = {"loc": ["body", "state", "bogus"], "msg": "Extra inputs", "input": "s3cr3t"}
    body = {
        "exception_message": "Invalid request received.",
        "exception_detail": [problem],
        "request_body": {"password": "s3cr3t"},
    }
    with pytest.raises(InvalidRequest, match=r"body\.state\.bogus: Extra inputs") as caught:
        run(ScriptedServer(default=Reply(422, body)), get)
    assert "s3cr3t" not in str(caught.value)


def test_secrets_are_masked_in_messages() -> None:
    server = ScriptedServer(default=Reply(400, {"detail": "the key sesame1 is odd"}))
    with pytest.raises(InvalidRequest) as caught:
        run(server, get, credentials=Credentials(api_key="sesame1"))
    assert "sesame1" not in str(caught.value)


def test_options_tell_their_secrets() -> None:
    secrets = SessionOptions(
        base_url="http://user:address1@server/api",
        credentials=Credentials(auth_string="admin:sesame"),
        custom_headers={"X-Api-Key": "custom", "X-Team": "data"},
    ).secrets()
    assert {"admin:sesame", "sesame", b64encode(b"admin:sesame").decode()} <= secrets
    assert {"custom", "address1"} <= secrets
    assert "data" not in secrets


def test_requests_share_connections() -> None:
    async def scenario(session: Session, clock: ManualClock) -> None:
        for _ in range(5):
            await session.request("GET", "/thing")

    server = ScriptedServer()
    run(server, scenario)
    assert server.connections == 1


def test_many_requests_at_once_are_all_answered() -> None:
    async def scenario(session: Session, clock: ManualClock) -> list[Any]:
        return await asyncio.gather(*(session.request("GET", "/thing") for _ in range(50)))

    server = ScriptedServer(default=Reply(200, "yes"))
    assert run(server, scenario, max_concurrency=3) == ["yes"] * 50
    assert server.connections <= 3


def test_a_server_that_was_never_reached_is_not_waited_for() -> None:
    server = ScriptedServer()
    clocks: list[ManualClock] = []

    async def scenario(session: Session, clock: ManualClock) -> None:
        clocks.append(clock)
        server.__exit__(None, None, None)
        with pytest.raises(Unavailable, match="PREFECT_API_URL"):
            await session.request("GET", "/thing")

    run(server, scenario, retry=RetryPolicy())
    assert clocks[0].sleeps == []


def test_a_password_in_the_address_is_not_shown() -> None:
    with pytest.raises(Unavailable) as caught:
        run_against("http://user:hidden1@127.0.0.1:1/api")
    assert "hidden1" not in str(caught.value)


def run_against(url: str, **options: Any) -> None:
    """A request to an address where nobody listens."""

    async def main() -> None:
        session = Session(SessionOptions(base_url=url, **options), clock=ManualClock())
        try:
            await session.request("GET", "/thing")
        finally:
            await session.aclose()

    asyncio.run(main())
