"""What can happen to a request on its way through the fault proxy, and who decides it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

PATIENCE_SECONDS: Final = 60.0
"""Until a wait for somebody else counts as failed, or is given up."""


class Fault(StrEnum):
    """What happens to one request. The server hears of it only where that is said."""

    RESET = "reset"
    """The connection is reset before the server hears of it."""
    LOST = "lost answer"
    """The server has done it; the connection is reset in place of an answer."""
    HALF = "half an answer"
    """The server has done it; the answer breaks off in the middle."""
    SILENT = "silence"
    """The server has done it; nothing comes until the client gives up."""
    DRIP = "drip"
    """The server has done it; the answer comes, slowly."""
    GARBAGE = "garbage"
    """The server has done it; the answer is noise that calls itself JSON."""
    PAGE = "page"
    """The server has done it; a proxy's page is the answer."""
    WRONG_TYPE = "wrong type"
    """The server has done it; the answer is JSON, but nothing that anybody would expect."""
    ERROR_500 = "500"
    ERROR_502 = "502"
    ERROR_503 = "503"
    BUSY = "429"
    """With a Retry-After of a fifth of a second."""
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"


REFUSALS: Final = {
    Fault.ERROR_500: (500, b'{"exception_message": "Internal Server Error"}'),
    Fault.ERROR_502: (502, b"<html>Bad Gateway</html>"),
    Fault.ERROR_503: (503, b'{"exception_message": "Service Unavailable"}'),
    Fault.BUSY: (429, b'{"detail": "Too many requests"}'),
    Fault.UNAUTHORIZED: (401, b'{"exception_message": "Unauthorized"}'),
    Fault.FORBIDDEN: (403, b'{"detail": "Forbidden"}'),
}
"""Statuses and bodies that come without the server having heard anything."""

NONSENSE: Final = {
    Fault.GARBAGE: ("application/json", b'\x00\xff{"state": \x80'),
    Fault.PAGE: ("text/html", b"<html><body>Please sign in to this network</body></html>"),
    Fault.WRONG_TYPE: ("application/json", b'{"state": ["neither", 1, null], "id": {}}'),
}


@dataclass(frozen=True)
class Request:
    """What a worker asks."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body) if self.body else None

    def proposes(self, *types: str) -> bool:
        """Whether a flow run's state of one of these types is proposed."""
        return self.path.endswith("/set_state") and self.json["state"]["type"] in types


@dataclass(frozen=True)
class Answer:
    """What a worker is answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Weather = Callable[[Request], Fault | None]
Which = Callable[[Request], bool]


def fair(_: Request) -> None:
    """The weather in which nothing goes wrong."""


class Moment(StrEnum):
    """When a request can be held."""

    ARRIVED = "arrived"
    """The server has not heard of it."""
    ANSWERED = "answered"
    """The server has done it, the worker does not know."""


@dataclass
class Held:
    """A request that is held, once :meth:`wait` has returned."""

    which: Which
    moment: Moment
    request: Request | None = None
    dropped: bool = False
    _here: threading.Event = field(default_factory=threading.Event)
    _free: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> Request:
        """Wait until a request is held; that request."""
        assert self._here.wait(PATIENCE_SECONDS), f"nothing to hold has {self.moment}"
        assert self.request is not None
        return self.request

    def pass_on(self) -> None:
        """Let it go its way, and wait until it has, as far as there is still somebody."""
        self._free.set()
        assert self._done.wait(PATIENCE_SECONDS)

    def drop(self) -> None:
        """Let it go nowhere."""
        self.dropped = True
        self._free.set()

    # -- the proxy's side ----------------------------------------------------------------------

    def takes(self, request: Request) -> bool:
        """Whether this is the request to hold: the first that fits."""
        if self.request is not None or self.dropped or not self.which(request):
            return False
        self.request = request
        return True

    def catch(self) -> bool:
        """Hold the request here; whether it may go on."""
        self._here.set()
        return self._free.wait(PATIENCE_SECONDS) and not self.dropped

    def over(self) -> None:
        self._done.set()


def to(method: str, path: str) -> Which:
    """Requests with this method whose whole path, below ``/api``, is as the pattern says."""
    pattern = re.compile(f"/api{path}")
    return lambda request: request.method == method and bool(pattern.fullmatch(request.path))


def proposing(*types: str) -> Which:
    """Requests that propose a flow run's state of one of these types."""
    return lambda request: request.proposes(*types)
