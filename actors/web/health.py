"""The health server behind ``--with-healthcheck``: for probes, and nothing else (contract 15).

``GET /health`` and ``GET /ready`` answer what the worker thinks of itself; every other path is
404, with the bodies that the probes of Prefect's own worker expect. uvicorn and Starlette are
imported when it starts, so that a worker without it does not pay for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..domain.errors import SettingsError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from uvicorn import Server

    from ..messages.health import Health

Verdict = Callable[[], Awaitable["Health"]]
"""Asks for the verdict now, and gives up in time: a probe waits as long as this does. Raising
counts as unhealthy: who cannot answer is not well."""

UNRESPONSIVE = "Worker may be unresponsive at this time"

_WHY_NOT_BOUND = {
    errno.EADDRINUSE: "another program listens there",
    errno.EACCES: "this user may not listen there",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


class HealthServer:
    """Serves ``/health`` and ``/ready`` on ``host`` and ``port`` (0: any free one)."""

    def __init__(self, verdict: Verdict, *, host: str, port: int) -> None:
        self._verdict = verdict
        self._host = host
        self._port = port
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port it listens on while it is started."""
        if self._socket is None:
            return self._port
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen and answer from now on. SettingsError: the address cannot be used."""
        if self._serving is not None:
            return
        self._socket = _listen(self._host, self._port)
        listening = asyncio.Event()
        self._server = _server(_application(self._verdict), listening)
        self._serving = asyncio.create_task(
            self._server.serve(sockets=[self._socket]), name="health server"
        )
        self._serving.add_done_callback(lambda _: listening.set())
        # uvicorn forgets what it opened when it is told to stop before it has started
        await listening.wait()

    async def stop(self) -> None:
        """Stop answering and give the port back; harmless when not started."""
        server, serving, listening = self._server, self._serving, self._socket
        self._server = self._serving = self._socket = None
        if server is None or serving is None or listening is None:
            return
        server.should_exit = True
        server.force_exit = True  # a probe that does not hang up is not waited for
        try:
            await serving
        finally:
            listening.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        cause = _WHY_NOT_BOUND.get(error.errno or 0, error.strerror or str(error))
        raise SettingsError(
            f"The health server cannot listen on {host} port {port}: {cause}. Choose another"
            " address with --health-host and --health-port (PREFECT_WORKER_WEBSERVER_HOST and"
            " PREFECT_WORKER_WEBSERVER_PORT), or leave out --with-healthcheck."
        ) from error
    return listening


def _server(application: Any, listening: asyncio.Event) -> Server:
    import uvicorn

    class Quiet(uvicorn.Server):
        """uvicorn without its hold on SIGINT and SIGTERM, which are the worker's."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            listening.set()

    return Quiet(
        uvicorn.Config(
            application,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_keep_alive=5,
        )
    )


def _application(verdict: Verdict) -> Any:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    def answering(good: Callable[[Health], bool]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            try:
                well = good(await verdict())
            except Exception:
                well = False
            if well:
                return JSONResponse({"message": "OK"})
            return JSONResponse({"message": UNRESPONSIVE}, status_code=503)

        return answer

    async def plainly(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)

    return Starlette(
        routes=[
            Route("/health", answering(lambda health: health.healthy)),
            Route("/ready", answering(lambda health: health.ready)),
        ],
        exception_handlers={HTTPException: plainly},
    )
