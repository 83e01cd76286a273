"""Ports of the loopback address for programs that a test starts later, or again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port that is given to nobody else, whether somebody listens there at the time or not.

    It is bound and not listening: connections are refused, and a program that sets SO_REUSEADDR
    may listen there. A port that is only looked up and let go may be given to the server of
    another test, which then hears whoever asks at this one in vain.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port
