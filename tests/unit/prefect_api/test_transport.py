"""What an exchange leaves behind that is cancelled at a bad moment."""

from __future__ import annotations

import socket

import pytest

from actors.prefect_api.http.exchange import CancelHandle, ExchangeCancelled, HttpRequest
from actors.prefect_api.http.session_options import SessionOptions
from actors.prefect_api.http.transport import Transport


class CutOnConnecting(CancelHandle):
    """Cancelled by another thread while this one was waiting for its connection."""

    def __init__(self) -> None:
        super().__init__()
        self.connection: object = None

    def attach(self, sock: object) -> None:
        self.connection = sock
        self.cancel()
        super().attach(sock)


def test_a_connection_that_comes_too_late_is_closed() -> None:
    handle = CutOnConnecting()
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        transport = Transport(SessionOptions(base_url=url), connections=1)
        with pytest.raises(ExchangeCancelled):
            transport.exchange(HttpRequest(method="GET", url=url, headers={}), handle)
    transport.close()
    assert isinstance(handle.connection, socket.socket)
    assert handle.connection.fileno() == -1
