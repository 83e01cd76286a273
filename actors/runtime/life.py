"""The life of an asyncio actor: one task that runs its hooks and handles its messages."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Generator
from types import CoroutineType, coroutine
from typing import Any

from pykka import ActorRegistry

from .clock import Clock
from .errors import ActorKilled, WaitCancelled
from .inbox import Inbox
from .pykka_internals import Envelope, PykkaActor, StopMessage
from .ref import AsyncioRef
from .waits import Waits

logger = logging.getLogger("pykka")

Hook = Callable[[], Any]

_living: set[asyncio.Task[None]] = set()
"""Event loops hold tasks weakly; an actor that nobody refers to must live on all the same."""


class Life:
    """What one actor is doing. Everything here happens on the actor's event loop."""

    def __init__(self, actor: PykkaActor, clock: Clock, waits: Waits) -> None:
        self._actor = actor
        self._clock = clock
        self._waits = waits
        self._inbox: Inbox = actor.actor_inbox
        self._ref: AsyncioRef = actor.actor_ref
        self._task: asyncio.Task[None]
        self._failure: BaseException | None = None
        self.began_at: float | None = None
        """On the actor's clock; None before ``start()``."""
        self.is_up = False
        """Whether ``on_start`` is through."""
        self.handling: tuple[object, float] | None = None
        """The message that an ``async`` handler is at, and since when on the actor's clock."""

    def begin(self) -> None:
        """Create the task."""
        self.began_at = self._clock.monotonic()
        work = self._live()
        self._task = asyncio.get_running_loop().create_task(work, name=str(self._actor))
        self._ref.task = self._task
        _living.add(self._task)
        self._task.add_done_callback(self._finalize)

    async def _live(self) -> None:
        hook = await self._serve() if await self._start() else _no_hook
        for step in (self._waits.end, hook, self._waits.end):
            try:
                await _settle(step())
            except GeneratorExit:
                raise
            except BaseException as raised:
                self._fail(self._cause(raised))

    async def _start(self) -> bool:
        try:
            await _settle(self._actor.on_start())
        except GeneratorExit:
            raise
        except BaseException as raised:
            self._fail(self._cause(raised))
        else:
            self.is_up = True
        return self.is_up

    async def _serve(self) -> Hook:
        """Handle messages until one ends the actor. Returns the hook that is then due."""
        while (hook := await self._turn()) is None:
            pass
        return hook

    async def _turn(self) -> Hook | None:
        """Wait for a message and handle it. A method of its own, so as to keep no message."""
        actor, inbox = self._actor, self._inbox
        reply = None
        try:
            await (inbox.wait() if inbox.empty() else _give_way())
            envelope = inbox.get()
            message, reply = envelope.message, envelope.reply_to
            if isinstance(message, StopMessage):
                return self._accept_stop(envelope)
            response = actor._actor_handle(message)
            if isinstance(response, CoroutineType):
                response = await self._attend(message, response)
            if reply is not None:
                reply.set(response)
        except GeneratorExit:
            raise
        except BaseException as raised:
            error = self._cause(raised)
            if reply is None:
                return self._fail(error)
            logger.info(f"Exception returned from {actor} to caller:", exc_info=error)
            reply.set_exception((type(error), error, error.__traceback__))
            if isinstance(error, ActorKilled) or not isinstance(error, Exception):
                return self._fail(error)
        return None

    async def _attend(self, message: object, work: CoroutineType[Any, Any, Any]) -> Any:
        self.handling = message, self._clock.monotonic()
        try:
            response = await work
        finally:
            self.handling = None
        if self._task.cancelling():  # the handler swallowed what was meant for the actor
            raise asyncio.CancelledError
        return response

    def _accept_stop(self, envelope: Envelope[Any]) -> Hook:
        actor = self._actor
        ActorRegistry.unregister(self._ref)
        actor.actor_stopped.set()
        self._inbox.put(envelope)  # to be answered at the very end, when it is closed
        logger.debug(f"Stopped {actor}")
        return actor.on_stop

    def _fail(self, error: BaseException) -> Hook:
        """End the actor because of ``error``; SystemExit and the like count as a stop."""
        actor = self._actor
        actor._actor_failed(error)
        if self._failure is None:
            self._failure = error
        if not isinstance(error, Exception):
            return actor.on_stop
        return functools.partial(actor.on_failure, type(error), error, error.__traceback__)

    def _cause(self, raised: BaseException) -> BaseException:
        """What an exception means: CancelledError may be meant for the actor, or leak into it."""
        if not isinstance(raised, asyncio.CancelledError):
            return raised
        error: BaseException = WaitCancelled(f"What {self._actor} awaited was cancelled")
        if self._task.cancelling():
            error = ActorKilled(f"{self._actor} was killed")
            while self._task.uncancel():
                pass  # so that what on_failure meets is not taken for another kill
        return error.with_traceback(raised.__traceback__)

    def _finalize(self, task: asyncio.Task[None]) -> None:
        """Nothing runs any more: answer all that still wait."""
        _living.discard(task)
        actor = self._actor
        if task.cancelled():
            self._fail(ActorKilled(f"{actor} was killed before it began"))
        elif (bug := task.exception()) is not None:
            self._fail(bug)
        self._inbox.close(f"{actor} stopped before handling the message")
        self._ref.ended.set(self._failure)


def _no_hook() -> None:
    pass


async def _settle(value: Any) -> Any:
    return await value if isinstance(value, CoroutineType) else value


@coroutine
def _give_way() -> Generator[None, None, None]:
    """Let the loop run everything else that is ready."""
    yield
