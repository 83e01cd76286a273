from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from actors.domain.errors import SettingsError
from actors.web.health import health_server
from actors.web.small_http_server import SmallHttpServer


@dataclass
class Verdict:
    healthy: bool = True
    ready: bool = True
    error: Exception | None = None

    async def __call__(self) -> Any:
        if self.error is not None:
            raise self.error
        return self


async def ask(port: int, target: str) -> tuple[int, Any]:
    """A bare request: status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    method, _, path = target.partition(" ")
    request = f"{method} {path} HTTP/1.1\r\nHost: worker\r\n\r\n"
    writer.write(request.encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), json.loads(body) if body else None


def serving(verdict: Verdict, use: Callable[[SmallHttpServer], Awaitable[None]]) -> None:
    async def main() -> None:
        server = health_server(verdict, host="127.0.0.1", port=0)
        server.start()
        try:
            await use(server)
        finally:
            await server.stop()

    asyncio.run(main())


OK = {"message": "OK"}
UNRESPONSIVE = {"message": "Worker may be unresponsive at this time"}
NOT_FOUND = {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("verdict", "target", "status", "body"),
    [
        (Verdict(), "GET /health", 200, OK),
        (Verdict(), "GET /ready", 200, OK),
        (Verdict(healthy=False), "GET /health", 503, UNRESPONSIVE),
        (Verdict(healthy=False), "GET /ready", 200, OK),
        (Verdict(ready=False), "GET /ready", 503, UNRESPONSIVE),
        (Verdict(error=TimeoutError()), "GET /health", 503, UNRESPONSIVE),
        (Verdict(), "HEAD /health", 200, None),
        (Verdict(), "GET /", 404, NOT_FOUND),
        (Verdict(), "GET /docs", 404, NOT_FOUND),
        (Verdict(), "GET /health/x", 404, NOT_FOUND),
        (Verdict(), "POST /health", 405, {"detail": "Method Not Allowed"}),
    ],
)
def test_answers_as_the_probes_of_prefects_worker_expect(
    verdict: Verdict, target: str, status: int, body: Any
) -> None:
    async def use(server: SmallHttpServer) -> None:
        assert await ask(server.port, target) == (status, body)

    serving(verdict, use)


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    async def start(port: int) -> None:
        health_server(Verdict(), host="127.0.0.1", port=port)

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            asyncio.run(start(port))
    assert f"port {port}" in str(caught.value)
    assert "Address already in use" in str(caught.value)
    assert "--health-port" in str(caught.value)


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        ("192.0.2.1", "[Errno 99] Cannot assign requested address"),
        ("2001:db8::1", ""),  # or it has no IPv6
        ("größe..x", "encoding of hostname failed"),
        ("nul\0", "host name must not contain null character"),
    ],
)
def test_an_address_that_is_not_this_machines_is_named(host: str, cause: str) -> None:
    async def start() -> None:
        health_server(Verdict(), host=host, port=0)

    with pytest.raises(SettingsError) as caught:
        asyncio.run(start())
    assert f"cannot listen on {host} port 0: {cause}" in str(caught.value)


def test_stopping_gives_the_port_back_even_when_a_probe_does_not_hang_up() -> None:
    async def main() -> int:
        server = health_server(Verdict(), host="127.0.0.1", port=0)
        server.start()
        port = server.port
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /hea")
        await server.stop()
        await server.stop()
        assert len(asyncio.all_tasks()) == 1
        with socket.create_server(("127.0.0.1", port)):
            pass
        writer.close()
        return port

    assert asyncio.run(main()) > 0


def test_signals_stay_the_workers() -> None:
    async def use(server: SmallHttpServer) -> None:
        assert signal.getsignal(signal.SIGTERM) is before

    before = signal.getsignal(signal.SIGTERM)
    serving(Verdict(), use)
