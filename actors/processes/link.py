"""The worker's link to the folder's keeper: finds or starts it, and reconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import structlog

from ..domain.errors import CouldNotStart, KeeperError
from ..domain.log_once import LogOnce
from ..keeper.constants import PROTOCOL, PROVE, WITHOUT_PROOF
from ..keeper.protocol import ProtocolError
from .connection import ConnectionLost, Frame, KeeperConnection, NoAnswer, connect
from .starting import KeeperOptions, start_keeper

ATTEMPTS = 100
ATTEMPT_PAUSE = 0.05
"""Attempts and seconds between them: a former keeper may be ending, or a new one starting."""
FIRST_RETRY = 0.1
LAST_RETRY = 5.0
"""Seconds between attempts to reconnect; doubled each time."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

Heard = Callable[[Frame, int | None], None]
"""Receives each frame of the keeper and its descriptor, which is closed afterwards."""

TakeUp = Callable[[KeeperConnection], Awaitable[None]]
"""Called on each new connection before anybody else uses it."""


class WorkerFolder(Protocol):
    """The state folder of the worker, which it locks."""

    @property
    def path(self) -> Path: ...

    @property
    def lock(self) -> int | None:
        """The descriptor of the lock; None while it is not held."""

    def try_lock(self) -> bool:
        """Locks the folder; False when another living worker has it."""


class KeeperLink:
    """Owns: _connection, _attempt (to connect), _mending (attempts in the background), failure,
    _protocol (the version that the keeper speaks).
    """

    def __init__(
        self, state: WorkerFolder, options: KeeperOptions, *, heard: Heard, take_up: TakeUp
    ) -> None:
        self._state = state
        self._folder = state.path
        self._options = options
        self._heard = heard
        self._take_up = take_up
        self._connection: KeeperConnection | None = None
        self._attempt: asyncio.Task[KeeperConnection] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._closed = False
        self._protocol = PROTOCOL
        self.failure: asyncio.Future[KeeperError] = asyncio.get_running_loop().create_future()
        """Done once no keeper can be had again; the error says why."""
        self._missing_complaint = LogOnce()
        self._hanging_complaint = LogOnce()
        self._missing: tuple[str, ...] = ()
        self.keeper_pid: int | None = None

    async def request(self, frame: Frame) -> Frame:
        """Asks the keeper, or the next one if it dies before it answers.

        KeeperError: there is none, or it does not answer; it may have done what it was asked.
        CouldNotStart: the request is too long.
        """
        for _ in range(ATTEMPTS):
            connection = await self.connected()
            try:
                answer = await connection.request(frame)
            except ConnectionLost:
                await asyncio.sleep(ATTEMPT_PAUSE)
            except NoAnswer as error:
                raise self._unanswered(error) from error
            except ProtocolError as error:
                raise CouldNotStart(f"The order does not fit: {error}.") from error
            else:
                if self._hanging_complaint.resolve():
                    _log.info("keeper.answers_again", pid=self.keeper_pid)
                return answer
        raise KeeperError(f"The keeper of {self._folder} ends whenever it is asked something.")

    async def connected(self) -> KeeperConnection:
        """The connection, made if need be. Raises KeeperError."""
        if self.failure.done():
            raise self.failure.result()
        if self._closed:
            raise KeeperError("This launcher is closed.")
        if self._connection is not None:
            return self._connection
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._connect())
            self._attempt.add_done_callback(self._attempted)
        return await asyncio.shield(self._attempt)

    async def close(self) -> None:
        """Leaves the keeper alone; an embedded one first ends its runs and itself."""
        self._closed = True
        for task in (self._mending, self._attempt):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._options.embedded:
            connection.send({"op": "end"})
            seconds = self._options.end_grace_seconds + self._options.answer_seconds
            await asyncio.wait([connection.ended], timeout=seconds)
        connection.close()

    def _unanswered(self, error: NoAnswer) -> KeeperError:
        seconds = self._options.answer_seconds
        if error.silent and self._hanging_complaint.report("hangs"):
            _log.error(
                "keeper.hangs",
                pid=self.keeper_pid,
                seconds=seconds,
                hint="It is stopped, or its disk is stuck. Runs go on; if it is killed, another "
                "keeper takes over and their exit codes are lost.",
            )
        return KeeperError(f"The keeper of {self._folder} has not answered within {seconds:g} s.")

    def _attempted(self, attempt: asyncio.Task[KeeperConnection]) -> None:
        self._attempt = None
        if not attempt.cancelled():
            attempt.exception()  # the waiters have received it; there may be none

    async def _connect(self) -> KeeperConnection:
        for _ in range(ATTEMPTS):
            connection = None
            try:
                raw = await connect(self._folder)
                connection = KeeperConnection(
                    raw, self._listen, self._lost, answer_seconds=self._options.answer_seconds
                )
                await self._greet(connection)
                await self._take_up(connection)
            except (FileNotFoundError, ConnectionRefusedError):
                if await start_keeper(self._folder, self._options):
                    continue
            except ConnectionLost:
                if self.failure.done():
                    raise self.failure.result() from None
            except NoAnswer as error:
                raise self._unanswered(error) from error
            except (LookupError, TypeError, ValueError) as error:
                raise KeeperError(
                    f"What answers on the socket of {self._folder} is no keeper: {error!r}."
                ) from error
            except OSError as error:
                raise KeeperError(f"No way to the keeper of {self._folder}: {error}.") from error
            else:
                self._connection = connection
                if self._missing_complaint.resolve():
                    _log.info("keeper.found", pid=self.keeper_pid)
                return connection
            finally:
                if connection is not None and connection is not self._connection:
                    connection.close()
            await asyncio.sleep(ATTEMPT_PAUSE)
        raise KeeperError(
            f"Another keeper holds {self._folder} and does not answer. See keeper.log there."
        )

    async def _greet(self, connection: KeeperConnection) -> None:
        hello = {"op": "hello", "protocol": self._protocol}
        answer = await connection.request(hello)
        if answer.get("error") == PROVE:
            answer = await connection.request(hello, self._state.lock)
        match answer.get("error"):
            case None:
                pass
            case "version" if answer["protocol"] in {PROTOCOL, WITHOUT_PROOF}:
                self._protocol = answer["protocol"]
                raise ConnectionLost  # it has closed; the next attempt speaks its version
            case "version":
                raise KeeperError(
                    f"The keeper of {self._folder} speaks version {answer['protocol']} of the "
                    f"protocol and this worker version {PROTOCOL}. Use the worker's other version "
                    "until its runs are over, or another --state-dir."
                )
            case other:
                raise KeeperError(
                    f"The keeper of {self._folder} does not take us for its worker ({other}): "
                    "worker.lock there was replaced, or is another process's."
                )
        if answer["embedded"] != self._options.embedded:
            raise KeeperError(
                f"The keeper of {self._folder} is {'' if answer['embedded'] else 'not '}embedded "
                "in a worker, unlike the one wanted. Use another --state-dir."
            )
        if self._missing != (missing := tuple(answer["missing"])):
            _log.info("keeper.limited", missing=missing)
        self._missing = missing
        self.keeper_pid = answer["pid"]

    def _listen(self, frame: Frame, descriptor: int | None) -> None:
        if frame.get("fact") == "replaced":
            self._replaced()
        self._heard(frame, descriptor)

    def _replaced(self) -> None:
        """Does not connect again: two workers would take turns for ever."""
        _log.error(
            "keeper.taken_over",
            folder=str(self._folder),
            pid=self.keeper_pid,
            hint="Find out who talks to keeper.sock there: a run, or a second worker. Runs go on.",
        )
        taken_over = KeeperError(
            f"Another process has taken over the keeper of {self._folder}, so this worker can "
            "start and end no runs. Those that are there go on with the keeper. Find out who "
            "talks to keeper.sock there, and start the worker again."
        )
        if not self.failure.done():
            self.failure.set_result(taken_over)

    def _lost(self, connection: KeeperConnection) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if self._closed or self.failure.done():
            return
        _log.warning("keeper.lost", folder=str(self._folder), pid=self.keeper_pid)
        if self._mending is None or self._mending.done():
            self._mending = asyncio.create_task(self._mend())

    async def _mend(self) -> None:
        """Reconnects, so that facts arrive although nobody asks for anything."""
        pause = FIRST_RETRY
        while True:
            try:
                await self.connected()
            except KeeperError as error:
                if self._closed or self.failure.done():
                    return
                if self._missing_complaint.report(str(error)):
                    _log.error("keeper.missing", error=str(error))
            else:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_RETRY)
