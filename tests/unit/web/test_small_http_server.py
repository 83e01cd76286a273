"""What strangers may cost the program that serves them."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.web.small_http_server import (
    CONNECTIONS,
    HEADER_BYTES,
    HEADER_SECONDS,
    Request,
    Respond,
    Response,
    SmallHttpServer,
)

PATIENCE_SECONDS = 60.0
"""Bound of a wait that ends at once unless something is broken."""

WHOLE_REQUEST = b"GET /health HTTP/1.1\r\nHost: worker\r\n\r\n"
HALF_A_REQUEST = WHOLE_REQUEST[:-4]


async def well(_: Request) -> Response:
    return Response(status=HTTPStatus.OK, body=b"well")


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=4096)


def serving(
    use: Callable[[int], Awaitable[None]],
    *,
    respond: Respond = well,
    listen: Callable[[], socket.socket] = listening,
    header_seconds: float = HEADER_SECONDS,
    accept_pause_seconds: float = 0.0,
) -> None:
    """``use`` a server, by its port."""

    async def main() -> None:
        server = SmallHttpServer(
            listen(),
            respond,
            header_seconds=header_seconds,
            accept_pause_seconds=accept_pause_seconds,
        )
        server.start()
        try:
            await asyncio.wait_for(use(server.port), PATIENCE_SECONDS)
        finally:
            await server.stop()

    asyncio.run(main())


async def exchange(port: int, sent: bytes) -> bytes:
    """All that the server says to ``sent`` until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


SILENT_CLIENTS = """
import resource, socket, sys
port, clients, half_a_request = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, clients + 64), most))
held = []
for _ in range(clients):
    client = socket.create_connection(("127.0.0.1", port))
    try:
        client.sendall(half_a_request)
    except ConnectionError:
        pass  # cut off already
    held.append(client)
print("all there", flush=True)
sys.stdin.read()
"""


def test_a_crowd_of_silent_clients_takes_few_descriptors_and_keeps_no_probe_out() -> None:
    """1,100 of them are more than a process may usually have open (1,024)."""

    async def use(port: int) -> None:
        before = len(os.listdir("/proc/self/fd"))
        crowd = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", SILENT_CLIENTS, str(port), "1100", HALF_A_REQUEST),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        pipes = 2
        assert crowd.stdout is not None
        try:
            assert await crowd.stdout.readline() == b"all there\n"
            assert (await exchange(port, WHOLE_REQUEST)).endswith(b"\r\n\r\nwell")
            assert len(os.listdir("/proc/self/fd")) - before <= CONNECTIONS + pipes
        finally:
            await crowd.communicate(b"")

    serving(use)


def test_a_client_without_a_whole_header_is_cut_off_whatever_it_sends_meanwhile() -> None:
    async def use(port: int) -> None:
        assert await exchange(port, HALF_A_REQUEST) == b""
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0)  # drain() gives way only when much is left to send
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    serving(use, header_seconds=0.05)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (WHOLE_REQUEST[:-2] + b"X: ".ljust(HEADER_BYTES, b"x"), b"431"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
    ],
)
def test_a_header_that_is_long_or_malformed_is_refused(sent: bytes, status: bytes) -> None:
    async def use(port: int) -> None:
        assert (await exchange(port, sent)).startswith(b"HTTP/1.1 " + status)

    serving(use)


def test_requests_in_hand_are_answered_before_more_clients_are_accepted() -> None:
    asked = 0
    all_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def respond(request: Request) -> Response:
        nonlocal asked
        asked += 1
        if asked == CONNECTIONS:
            all_asked.set()
        await may_answer.wait()
        return await well(request)

    async def use(port: int) -> None:
        first = [asyncio.create_task(exchange(port, WHOLE_REQUEST)) for _ in range(CONNECTIONS)]
        await all_asked.wait()
        late = asyncio.create_task(exchange(port, WHOLE_REQUEST))
        may_answer.set()
        for answer in await asyncio.gather(*first, late):
            assert answer.endswith(b"\r\n\r\nwell")

    serving(use, respond=respond)


def test_clients_wait_while_there_are_no_descriptors_and_the_log_says_so_once() -> None:
    class OfABusyProcess(socket.socket):
        failures = 0

        def accept(self) -> tuple[socket.socket, Any]:
            if self.failures < 100:
                self.failures += 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    def listen() -> socket.socket:
        return OfABusyProcess(fileno=listening().detach())

    async def use(port: int) -> None:
        assert (await exchange(port, WHOLE_REQUEST)).endswith(b"\r\n\r\nwell")

    with capture_logs() as logs:
        serving(use, listen=listen)
    assert [line["event"] for line in logs] == ["health.accept_failed", "health.accepts_again"]
