"""The ports that tests hold: another test's server on such a port hears who asks there in vain."""

from __future__ import annotations

import socket

import pytest

from tests.support.ports import held_port


def test_a_held_port_refuses_until_a_program_listens_there_and_again_afterwards() -> None:
    with held_port() as port:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            with (
                socket.create_server(("127.0.0.1", port)) as server,
                socket.create_connection(("127.0.0.1", port)),
            ):
                server.accept()[0].close()


def test_a_held_port_is_given_to_nobody_else() -> None:
    with held_port() as port, socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))  # without SO_REUSEADDR, as the kernel looks for free ones
