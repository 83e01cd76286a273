"""The worker's end of the keeper's socket, on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

from ..keeper.constants import SOCKET
from ..keeper.protocol import FrameSocket, ProtocolError, is_same_user

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

Frame = dict[str, Any]

ANSWER_SECONDS = 30.0
"""A keeper answers within milliseconds, unless it is stopped or its disk is stuck. A start may
wait for a directory on a slow network, too."""

_MAX_PATH = 100
"""Characters that an address of a Unix socket may have everywhere (unix(7): 108 on Linux)."""


class ConnectionLost(Exception):
    """The connection to the keeper is closed."""


class NoAnswer(Exception):
    """The keeper did not answer in time. It may have done what it was asked, or do it later."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__()
        self.silent = silent
        """Whether it has sent nothing at all since it was asked."""


class KeeperConnection:
    """Sends requests, receives answers and facts.

    A request that is not answered within ``answer_seconds`` fails alone. The connection stays: a
    keeper that was stopped may continue, and an embedded one ends its runs with its connection.

    Owns: _socket, _answers (request id -> future), _room.
    """

    def __init__(
        self,
        connection: socket.socket,
        heard: Callable[[Frame, int | None], None],
        lost: Callable[[KeeperConnection], None],
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = FrameSocket(connection)
        self._heard = heard
        self._lost = lost
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Frame]] = {}
        self._answer_seconds = answer_seconds
        self._frames = 0
        self._room = asyncio.Event()
        """Set while nothing waits to be sent: a keeper that reads nothing gets no more."""
        self._room.set()
        self.ended = self._loop.create_future()
        """Done once the connection is closed, by either side; must not be cancelled."""
        self._loop.add_reader(self._socket.fileno(), self._readable)

    async def request(self, frame: Frame, descriptor: int | None = None) -> Frame:
        """Raises ConnectionLost, NoAnswer, and ProtocolError when ``frame`` is too long."""
        frames = self._frames
        number = next(self._ids)
        try:
            async with asyncio.timeout(self._answer_seconds):
                while not self.ended.done() and not self._room.is_set():
                    await self._room.wait()
                if self.ended.done():
                    raise ConnectionLost
                self._send({**frame, "id": number}, descriptor)
                self._answers[number] = self._loop.create_future()
                return await self._answers[number]
        except TimeoutError:
            raise NoAnswer(silent=frames == self._frames) from None
        finally:
            self._answers.pop(number, None)

    def send(self, frame: Frame) -> None:
        """Sends a frame that has no answer."""
        if not self.ended.done():
            with contextlib.suppress(ConnectionLost):
                self._send({**frame, "id": next(self._ids)}, None)

    def close(self) -> None:
        """Waiting requests get ConnectionLost."""
        if self.ended.done():
            return
        self.ended.set_result(None)
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._room.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionLost())
        self._lost(self)

    def _send(self, frame: Frame, descriptor: int | None) -> None:
        try:
            self._socket.put(frame, descriptor)
            self._socket.flush()
        except OSError as error:
            self.close()
            raise ConnectionLost from error
        if self._socket.pending:
            self._room.clear()
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def _writable(self) -> None:
        try:
            self._socket.flush()
        except OSError:
            self.close()
            return
        if not self._socket.pending:
            self._loop.remove_writer(self._socket.fileno())
            self._room.set()

    def _readable(self) -> None:
        try:
            self._socket.take(self._take)
        except (EOFError, OSError):
            self.close()
        except (ProtocolError, LookupError, TypeError, ValueError) as error:
            _log.error("keeper.nonsense", error=repr(error))
            self.close()

    def _take(self, frame: Frame, descriptor: int | None) -> None:
        self._frames += 1
        self._heard(frame, descriptor)
        answer = self._answers.get(frame.get("id", 0))
        if answer is not None and not answer.done():
            answer.set_result(frame)


async def connect(folder: Path) -> socket.socket:
    """Connects to the keeper of ``folder``.

    Raises OSError when there is none, or it is another user's.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        with _short_path(folder) as path:
            await asyncio.get_running_loop().sock_connect(connection, path)
        _check_connected(connection)
        if not is_same_user(connection):
            raise PermissionError(errno.EPERM, "it belongs to another user")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_connected(connection: socket.socket) -> None:
    """A full queue of connections (EAGAIN, connect(2)) looks connected to asyncio."""
    try:
        connection.getpeername()
    except OSError as error:
        raise ConnectionRefusedError(error.errno, "too many wait for it") from error


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """An address for the socket that fits, however long the path of ``folder`` is."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) < _MAX_PATH or sys.platform != "linux":
        yield path
        return
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder, flags)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
