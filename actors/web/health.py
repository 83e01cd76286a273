"""The health server behind ``--with-healthcheck``: for probes, and nothing else.

``GET /health`` and ``GET /ready`` answer what the worker thinks of itself; every other path is
404, with the bodies that the probes of Prefect's own worker expect.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

from ..domain.errors import SettingsError
from ..messages.health_reporter import Health
from .small_http_server import Request, Response, SmallHttpServer

Verdict = Callable[[], Awaitable[Health]]
"""Asks for the verdict now, and gives up in time: a probe waits as long as this does. Raising
counts as unhealthy: who cannot answer is not well."""

BACKLOG: Final = 4096
"""Clients that the kernel holds until they are accepted, so that a crowd delays a probe by
milliseconds, not by the second after which a client tries again; see listen(2)."""


def health_server(verdict: Verdict, *, host: str, port: int) -> SmallHttpServer:
    """A server of ``/health`` and ``/ready`` on ``host`` and ``port`` (0: any free one).

    Every client that reaches the port may ask. SettingsError: the address cannot be used.
    """
    return SmallHttpServer(_listen(host, port), partial(_respond, verdict))


async def _respond(verdict: Verdict, request: Request) -> Response:
    if request.path not in ("/health", "/ready"):
        return _json(HTTPStatus.NOT_FOUND, detail="Not Found")
    if request.method not in ("GET", "HEAD"):
        return _json(
            HTTPStatus.METHOD_NOT_ALLOWED,
            headers=(("Allow", "GET, HEAD"),),
            detail="Method Not Allowed",
        )
    try:
        health = await verdict()
        well = health.healthy if request.path == "/health" else health.ready
    except Exception:
        well = False
    if well:
        return _json(HTTPStatus.OK, message="OK")
    return _json(HTTPStatus.SERVICE_UNAVAILABLE, message="Worker may be unresponsive at this time")


def _json(status: HTTPStatus, *, headers: Sequence[tuple[str, str]] = (), **body: str) -> Response:
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return Response(status=status, headers=headers, body=encoded)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
            return listener.dup()  # this one is closed whatever happens
    except (OSError, TypeError, UnicodeError) as error:
        raise SettingsError(
            f"The health server cannot listen on {host} port {port}: {error}. Choose another"
            " address with --health-host and --health-port (PREFECT_WORKER_WEBSERVER_HOST and"
            " PREFECT_WORKER_WEBSERVER_PORT), or leave out --with-healthcheck."
        ) from error
