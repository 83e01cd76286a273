"""Redirects and proxies: where a request may be led, and what goes along."""

from __future__ import annotations

from typing import Any

import pytest

from actors.domain.errors import Unavailable
from actors.prefect_api.http.exchange import ExchangeFailed, HttpRequest
from actors.prefect_api.http.session import Session
from actors.prefect_api.http.session_options import Credentials
from actors.prefect_api.http.transport import redirected
from tests.support.http_server import Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import run


async def get(session: Session, clock: ManualClock) -> Any:
    return await session.request("GET", "/thing")


async def post(session: Session, clock: ManualClock) -> Any:
    return await session.request("POST", "/thing", body={"id": "x"})


@pytest.mark.parametrize("status", [307, 308])
def test_redirects_keep_method_and_body(status: int) -> None:
    server = ScriptedServer()
    server.script(Reply(status, headers={"Location": "/api/other"}), Reply(200, "ok"))
    run(server, post)
    first, second = server.received
    assert (second.method, second.path) == ("POST", "/api/other")
    assert second.body == first.body


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_change_is_not_turned_into_something_else_by_a_redirect(status: int) -> None:
    server = ScriptedServer(default=Reply(status, headers={"Location": "/elsewhere"}))
    with pytest.raises(Unavailable, match="/elsewhere"):
        run(server, post)
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_reading_follows_every_redirect(status: int) -> None:
    server = ScriptedServer()
    server.script(Reply(status, headers={"Location": "other"}), Reply(200, "ok"))
    assert run(server, get) == "ok"
    assert server.received[1].path == "/api/other"


def test_redirects_in_circles_end() -> None:
    server = ScriptedServer(default=Reply(307, headers={"Location": "/api/thing"}))
    with pytest.raises(Unavailable, match="redirected more than"):
        run(server, get)


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/x", "http://[broken/x", "http://127.0.0.1:99999/"]
)
def test_redirects_to_nowhere_are_no_answer(location: str) -> None:
    server = ScriptedServer(default=Reply(307, headers={"Location": location}))
    with pytest.raises(Unavailable):
        run(server, get)


def test_another_server_does_not_get_the_key() -> None:
    with ScriptedServer(default=Reply(200, "other")) as other:
        server = ScriptedServer(default=Reply(307, headers={"Location": f"{other.url}/x"}))
        answer = run(
            server,
            get,
            credentials=Credentials(api_key="key"),
            custom_headers={"X-Secret": "s"},
        )
    assert answer == "other"
    headers = other.received[0].headers
    assert headers["Authorization"] is None
    assert headers["X-Secret"] is None
    assert headers["X-PREFECT-API-VERSION"] == "0.8.4"


def test_another_server_does_not_get_what_was_to_be_sent() -> None:
    with ScriptedServer() as other:
        server = ScriptedServer(default=Reply(307, headers={"Location": f"{other.url}/thing"}))
        with pytest.raises(Unavailable, match="PREFECT_API_URL") as caught:
            run(server, post, credentials=Credentials(api_key="key"))
    assert f"http://127.0.0.1:{other.port}" in str(caught.value)
    assert not other.received
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("location", "same"),
    [
        ("http://prefect/api/b", True),
        ("http://prefect:80/api/b", True),
        ("http://PREFECT/api/b", True),
        ("/api/b", True),
        ("https://prefect/api/b", False),
        ("http://prefect:8080/api/b", False),
        ("http://elsewhere/api/b", False),
        ("//elsewhere/api/b", False),
    ],
)
def test_scheme_host_and_port_make_a_server(location: str, same: bool) -> None:
    headers = {"Authorization": "Bearer key", "Accept": "application/json"}
    asked = HttpRequest(method="GET", url="http://prefect/api/a", headers=headers)
    assert ("Authorization" in redirected(asked, location).headers) is same
    told = HttpRequest(method="POST", url="http://prefect/api/a", headers=headers, body=b"{}")
    if same:
        assert redirected(told, location).body == b"{}"
    else:
        with pytest.raises(ExchangeFailed, match="PREFECT_API_URL"):
            redirected(told, location)


def test_a_proxy_is_used_except_for_hosts_that_go_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "elsewhere")
    with ScriptedServer(default=Reply(200, "by proxy")) as proxy:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        server = ScriptedServer(default=Reply(200, "direct"))
        assert run(server, get) == "by proxy"
        assert proxy.received[0].path == f"{server.url}/thing"
        monkeypatch.setenv("NO_PROXY", "elsewhere, 127.0.0.0/8")
        server = ScriptedServer(default=Reply(200, "direct"))
        assert run(server, get) == "direct"
