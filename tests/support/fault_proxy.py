"""A real HTTP proxy on the loopback that does to a worker what bad networks and servers do.

Between a worker and a Prefect server. For each request it asks the weather for a fault; requests
can also be held at a moment of a test's choosing, and the whole proxy can go away and come back.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from tests.support.fault_wire import Listener, Wire
from tests.support.faults import (
    PATIENCE_SECONDS,
    REFUSALS,
    Answer,
    Fault,
    Held,
    Moment,
    Request,
    Weather,
    Which,
    fair,
)


class FaultProxy:
    """Listens on a port of the loopback; a context manager that leaves nothing.

    ``server_port`` is where the real server listens. Hold ``port``, so that nobody else is given
    it during an outage. ``weather`` may be changed at any time.
    """

    def __init__(self, server_port: int, port: int) -> None:
        self.server_port = server_port
        self.port = port
        self.weather: Weather = fair
        self.injected: Counter[Fault] = Counter()
        self.requests = 0
        self.passes_websockets = False
        self._news = threading.Condition()
        self._holds: list[Held] = []
        self._asking: set[socket.socket] = set()
        self._tunnels: set[socket.socket] = set()
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What belongs into ``PREFECT_API_URL``."""
        return f"http://127.0.0.1:{self.port}/api"

    def come(self) -> None:
        """Listen."""
        self._listener = Listener(self.port, self._serve, self._upgrade)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,))
        self._thread.start()

    def go(self) -> None:
        """Break every connection and refuse new ones; harmless when it is away."""
        listener, self._listener = self._listener, None
        if listener is not None and self._thread is not None:
            listener.shutdown()
            self._thread.join(PATIENCE_SECONDS)
            for held in list(self._holds):
                held.drop()
            listener.break_connections()
            with self._news:
                for connection in self._asking:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
            self.cut_websockets()
            listener.server_close()

    def cut_websockets(self) -> None:
        """Close all that are open."""
        with self._news:
            for tunnel in self._tunnels:
                with suppress(OSError):
                    tunnel.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The server cannot be reached inside."""
        self.go()
        try:
            yield
        finally:
            self.come()

    @contextmanager
    def holding(self, which: Which, moment: Moment) -> Iterator[Held]:
        """Hold the next such request at this moment; whatever is still held is dropped."""
        held = Held(which, moment)
        with self._news:
            self._holds.append(held)
        try:
            yield held
        finally:
            with self._news:
                self._holds.remove(held)
            held.drop()

    def wait_for_requests(self, number: int, patience: float) -> bool:
        """Whether so many further requests arrive within ``patience`` seconds."""
        with self._news:
            wanted = self.requests + number
            return self._news.wait_for(lambda: self.requests >= wanted, patience)

    def __enter__(self) -> Self:
        self.come()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.go()

    # -- one exchange, in its connection's thread ------------------------------------------------

    def _serve(self, wire: Wire, request: Request) -> None:
        """Let happen to ``request`` what is to happen to it."""
        with self._news:
            self.requests += 1
            fault = self.weather(request)
            if fault is not None:
                self.injected[fault] += 1
            self._news.notify_all()
        holds = [held for held in (self._hold_of(request, m) for m in Moment) if held]
        try:
            self._exchange(wire, request, fault, holds)
        finally:
            for held in holds:
                held.over()

    def _upgrade(self, wire: Wire) -> None:
        if not self.passes_websockets:
            wire.refuse(Fault.FORBIDDEN)
            return
        with socket.create_connection(("127.0.0.1", self.server_port)) as server:
            with self._news:
                self._tunnels.add(server)
            try:
                wire.tunnel(server)
            finally:
                with self._news:
                    self._tunnels.discard(server)

    def _hold_of(self, request: Request, moment: Moment) -> Held | None:
        with self._news:
            for held in self._holds:
                if held.moment is moment and held.takes(request):
                    return held
        return None

    def _exchange(
        self, wire: Wire, request: Request, fault: Fault | None, holds: list[Held]
    ) -> None:
        if not _may_go_on(holds, Moment.ARRIVED) or fault is Fault.RESET:
            wire.reset()
        elif fault in REFUSALS:
            wire.refuse(fault)
        else:
            answer = self._ask(request)
            if answer is None or not _may_go_on(holds, Moment.ANSWERED):
                wire.reset()
            else:
                wire.deliver(answer, fault)

    def _ask(self, request: Request) -> Answer | None:
        """The server's answer; None when it does not give one."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server_port, timeout=PATIENCE_SECONDS
        )
        try:
            connection.connect()
        except OSError:
            return None
        wire = connection.sock
        with self._news:
            self._asking.add(wire)
        try:
            body = request.body or None
            connection.request(request.method, request.path, body, request.headers)
            with connection.getresponse() as response:
                return Answer(response.status, response.getheaders(), response.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            with self._news:
                self._asking.discard(wire)
            connection.close()


def _may_go_on(holds: list[Held], moment: Moment) -> bool:
    return all(held.catch() for held in holds if held.moment is moment)
