"""What an exchange leaves behind that is called off at a bad moment."""

from __future__ import annotations

import socket

import pytest

from actors.prefect_api.http.exchange import CalledOff, Lifeline, Outgoing
from actors.prefect_api.http.transport import Transport


class CutOnConnecting(Lifeline):
    """Called off by another thread while this one was waiting for its connection."""

    def __init__(self) -> None:
        super().__init__()
        self.connection: object = None

    def hold(self, sock: object, *, reused: bool = False) -> None:
        self.connection = sock
        self.call_off()
        super().hold(sock, reused=reused)


def test_a_connection_that_comes_too_late_is_closed() -> None:
    transport = Transport(
        connections=1, timeout_seconds=60, verify=True, proxies={}, max_response_bytes=1000
    )
    lifeline = CutOnConnecting()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises(CalledOff):
            transport.exchange(Outgoing(method="GET", url=url, headers={}), lifeline)
    transport.close()
    assert isinstance(lifeline.connection, socket.socket)
    assert lifeline.connection.fileno() == -1
