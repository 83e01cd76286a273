"""The event stream's adapter against a websocket server that does as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from actors.domain.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from actors.domain.ids import FlowRunId
from actors.domain.server_events import ServerEvent, ServerEventKind
from actors.prefect_api.http.session_options import Credentials, SessionOptions
from actors.prefect_api.http.threads import ThreadPool
from actors.prefect_api.stream import PrefectEventStream, to_server_event
from actors.runtime import LoopClock
from tests.support.http_server import CERTIFICATE

RUN = FlowRunId("eb085f43-a800-4f34-b207-1fc10ae15806")

PREFECT = Subprotocol("prefect")

Handle = Callable[[ServerConnection], Awaitable[None]]


def frame(name: str = "prefect.flow-run.Cancelling", id: str = "1", queue: str = "default") -> Any:
    """An event as servers send it."""
    return {
        "type": "event",
        "event": {
            "id": id,
            "event": name,
            "resource": {"prefect.resource.id": f"prefect.flow-run.{RUN}"},
            "related": [
                {"prefect.resource.id": "prefect.flow.1", "prefect.resource.name": "f"},
                {"prefect.resource.id": "prefect.work-queue.2", "prefect.resource.name": queue},
            ],
        },
    }


CANCELLING = ServerEvent(id="1", kind=ServerEventKind.CANCELLING, run_id=RUN)


@asynccontextmanager
async def a_stream(
    port: int, *, path: str = "/api", credentials: Credentials | None = None, **more: Any
) -> AsyncIterator[PrefectEventStream]:
    seconds = more.pop("setup_seconds", 30.0)
    scheme = more.pop("scheme", "http")
    options = SessionOptions(base_url=f"{scheme}://127.0.0.1:{port}{path}", **more)
    threads = ThreadPool(1, name="files")

    async def current() -> Credentials:
        return credentials or Credentials()

    try:
        yield PrefectEventStream(
            options,
            credentials=current,
            clock=LoopClock(),
            threads=threads,
            setup_seconds=seconds,
        )
    finally:
        await threads.aclose()


async def heard(handle: Handle, *, number: int = 1, **options: Any) -> list[ServerEvent]:
    """What a subscriber hears of a server that does this."""
    answer, tls = options.pop("answer", None), options.pop("tls", None)
    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=[PREFECT],
        process_request=answer,
        ssl=tls,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        async with a_stream(port, **options) as stream, stream.subscribe("p", ()) as events:
            return [await anext(events) for _ in range(number)]


async def accept(connection: ServerConnection) -> tuple[Any, Any]:
    """The two frames with which a subscription begins."""
    auth = json.loads(await connection.recv())
    await connection.send('{"type": "auth_success"}')
    return auth, json.loads(await connection.recv())


def test_it_subscribes_as_servers_want_it() -> None:
    seen: list[Any] = []

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append((connection.request.path, dict(connection.request.headers.raw_items())))
        seen.append(await accept(connection))
        await connection.send(json.dumps(frame()))
        await connection.wait_closed()

    events = asyncio.run(
        heard(
            handle,
            path="/prefect/api/",
            credentials=Credentials(auth_string="me:secret"),
            custom_headers={"X-Gate": "open"},
        )
    )
    assert events == [CANCELLING]
    (path, headers), (auth, subscription) = seen
    assert path == "/prefect/api/events/out"
    assert headers["x-gate"] == "open"
    assert headers["authorization"].startswith("Basic ")
    assert headers["User-Agent"] == "actor-worker"
    assert auth == {"type": "auth", "token": "me:secret"}
    assert subscription["type"] == "filter"
    assert subscription["filter"].keys() == {"occurred", "event", "any_resource"}
    assert subscription["filter"]["any_resource"] == {"id": ["prefect.work-pool.p"]}


def test_noise_and_repetitions_are_passed_over() -> None:
    async def handle(connection: ServerConnection) -> None:
        await accept(connection)
        for text in ("\x00", "[]", "{}", '{"type": "event", "event": 1}'):
            await connection.send(text)
        for message in (frame("prefect.flow-run.Running", "0"), frame(), frame(), frame(id="2")):
            await connection.send(json.dumps(message))
        await connection.wait_closed()

    events = asyncio.run(heard(handle, number=2))
    assert [event.id for event in events] == ["1", "2"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (302, InvalidRequest),
        (502, Unavailable),
    ],
)
def test_a_server_that_refuses_is_named_by_its_status(
    status: int, kind: type[OrchestratorError]
) -> None:
    def answer(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(status, "no")
        response.headers["Location"] = "ws://127.0.0.1:1/elsewhere"
        return response

    async def handle(connection: ServerConnection) -> None:
        raise AssertionError

    with pytest.raises(kind) as caught:
        asyncio.run(heard(handle, answer=answer))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("code", "kind"), [(1008, Forbidden), (1002, InvalidRequest), (1011, Unavailable)]
)
def test_a_connection_that_is_closed_says_why_and_no_secret(
    code: int, kind: type[OrchestratorError]
) -> None:
    async def handle(connection: ServerConnection) -> None:
        await accept(connection)
        await connection.close(code, "hunter22 is wrong")

    with pytest.raises(kind) as caught:
        asyncio.run(heard(handle, credentials=Credentials(api_key="hunter22")))
    assert "hunter22" not in str(caught.value)


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    with pytest.raises(Unavailable, match="no answer in time"):
        asyncio.run(heard(handle, setup_seconds=0.2))


@pytest.mark.parametrize("verify", [str(CERTIFICATE), False, True])
def test_certificates_are_checked_as_those_of_requests_are(verify: bool | str) -> None:
    async def handle(connection: ServerConnection) -> None:
        await accept(connection)
        await connection.send(json.dumps(frame()))
        await connection.wait_closed()

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    hearing = heard(handle, scheme="https", verify=verify, tls=tls)
    if verify is True:
        with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(hearing)
    else:
        assert asyncio.run(hearing) == [CANCELLING]


def test_nobody_listens(port: int) -> None:
    async def main() -> None:
        async with a_stream(port) as stream, stream.subscribe("p", ()):
            pass

    with pytest.raises(Unavailable):
        asyncio.run(main())


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def handle(connection: ServerConnection) -> None:
        await accept(connection)
        await connection.send(json.dumps(frame()))
        await connection.wait_closed()

    async def main() -> list[ServerEvent]:
        async with serve(handle, "127.0.0.1", 0, subprotocols=[PREFECT]) as server:
            target = server.sockets[0].getsockname()[1]

            async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
                there, back = await asyncio.open_connection("127.0.0.1", target)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(pump(reader, back), pump(there, writer))

            proxy = await asyncio.start_server(connect, "127.0.0.1", 0)
            async with proxy:
                number = proxy.sockets[0].getsockname()[1]
                monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{number}")
                monkeypatch.setenv("no_proxy", "")
                async with a_stream(7) as stream, stream.subscribe("p", ()) as events:
                    return [await anext(events)]

    assert asyncio.run(main()) == [CANCELLING]
    assert asked == [b"CONNECT 127.0.0.1:7 HTTP/1.1"]


def test_other_queues_are_passed_over_and_events_without_one_are_not() -> None:
    assert to_server_event(frame(queue="a"), ["b"]) is None
    assert to_server_event(frame(queue="a"), ["a", "b"]) == CANCELLING
    assert to_server_event(frame(queue="a"), []) == CANCELLING
    resumed = {
        "id": "3",
        "event": "prefect.work-queue.not-ready",
        "resource": {"prefect.resource.id": "prefect.work-queue.1", "prefect.resource.name": "a"},
        "related": [],
    }
    message = {"type": "event", "event": resumed}
    assert to_server_event(message, ["b"]) is None
    assert to_server_event(message, ["a"]) == ServerEvent(id="3", kind=ServerEventKind.WORK)
    resumed["event"] = "prefect.work-pool.ready"
    resumed["resource"] = {"prefect.resource.id": "prefect.work-pool.1"}
    assert to_server_event(message, ["b"]) == ServerEvent(id="3", kind=ServerEventKind.WORK)


@pytest.mark.parametrize(
    "resource", ["prefect.flow-run.../../admin", "prefect.flow-run.", "other"]
)
def test_a_run_is_known_by_a_uuid_only(resource: str) -> None:
    message = frame()
    message["event"]["resource"]["prefect.resource.id"] = resource
    event = to_server_event(message, [])
    assert event is not None
    assert event.run_id is None
