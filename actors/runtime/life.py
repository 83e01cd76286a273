"""The life of an asyncio actor: its task, and what it awaits beside its mailbox."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Generator
from types import CoroutineType, coroutine
from typing import Any, TypeVar

from pykka import ActorDeadError, ActorRegistry

from .inbox import Inbox
from .pykka_internals import PykkaActor, StopMessage
from .query import Fail
from .ref import AsyncioRef

logger = logging.getLogger("pykka")

T = TypeVar("T")

Hook = Callable[[], Any]

_living: set[asyncio.Task[None]] = set()
"""Event loops hold tasks weakly; an actor that nobody refers to must live on all the same."""


class ActorKilled(ActorDeadError):
    """The actor's task was cancelled: by ``kill()``, or because its event loop is closing.

    It is the actor's failure, and the answer to the question it was handling.
    """


class WaitCancelled(Exception):
    """Something that an actor awaited was cancelled; the actor itself was not.

    It stands in for ``asyncio.CancelledError``, which would cancel an actor that receives it.
    """


class Timer:
    """One call after ``delay`` seconds. It is in ``pending`` until it rang or was cancelled."""

    __slots__ = ("_handle", "_pending", "_ring")

    def __init__(self, delay: float, ring: Callable[[], object], pending: set[Timer]) -> None:
        self._ring = ring
        self._pending = pending
        self._handle = asyncio.get_running_loop().call_later(delay, self._on_time)
        pending.add(self)

    def _on_time(self) -> None:
        self._pending.discard(self)
        self._ring()

    def cancel(self) -> bool:
        """Call it off. Returns False when it is too late: it rang, or was cancelled before."""
        was_pending = self in self._pending
        self._pending.discard(self)
        self._handle.cancel()
        return was_pending


class Life:
    """What one actor is doing. Everything here happens on the actor's event loop."""

    def __init__(self, actor: PykkaActor) -> None:
        self._actor = actor
        self._inbox: Inbox = actor.actor_inbox
        self._ref: AsyncioRef = actor.actor_ref
        self._task: asyncio.Task[None]
        self._failure: BaseException | None = None
        self.waits: set[asyncio.Task[Any]] = set()
        self.timers: set[Timer] = set()
        self.began_at = 0.0
        """When it was started, in the loop's time."""
        self.is_up = False
        """Whether ``on_start`` is through."""
        self.handling: tuple[object, float] | None = None
        """The message that an ``async`` handler is at, and since when in the loop's time."""

    def begin(self) -> None:
        """Create the task."""
        loop = asyncio.get_running_loop()
        self.began_at = loop.time()
        self._task = loop.create_task(self._live(), name=str(self._actor))
        self._ref.task = self._task
        _living.add(self._task)
        self._task.add_done_callback(self._finalize)

    async def _live(self) -> None:
        self.is_up = await self._run(self._actor.on_start)
        hook = None
        while self.is_up and hook is None:
            hook = await self._turn()
        for step in (self._end_waits, hook, self._end_waits):
            if step is not None:
                await self._run(step)

    async def _run(self, step: Hook) -> bool:
        """Returns whether the step did not fail."""
        try:
            result = step()
            if isinstance(result, CoroutineType):
                await result
        except GeneratorExit:
            raise
        except BaseException as raised:
            self._fail(self._cause(raised))
            return False
        return True

    async def _turn(self) -> Hook | None:
        """Wait for a message and handle it. A method of its own, so as to keep no message."""
        actor, inbox = self._actor, self._inbox
        reply = None
        try:
            await (inbox.wait() if inbox.empty() else _give_way())
            envelope = inbox.get()
            message, reply = envelope.message, envelope.reply_to
            if isinstance(message, StopMessage):
                return self._accept_stop()
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
        self.handling = message, asyncio.get_running_loop().time()
        try:
            response = await work
        finally:
            self.handling = None
        if self._task.cancelling():  # the handler swallowed what was meant for the actor
            raise asyncio.CancelledError
        return response

    def _accept_stop(self) -> Hook:
        ActorRegistry.unregister(self._ref)
        self._actor.actor_stopped.set()
        logger.debug(f"Stopped {self._actor}")
        return self._actor.on_stop

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
        error: BaseException = self._wait_cancelled()
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

    # -- beside the mailbox ----------------------------------------------------------------------

    def pipe(
        self,
        awaitable: Awaitable[T],
        on_result: Callable[[T], Any],
        on_error: Callable[[Exception], Any] | None,
    ) -> asyncio.Task[T]:
        """Begin to await; see ``AsyncioActor.pipe``."""
        work = awaitable if isinstance(awaitable, CoroutineType) else _await(awaitable)
        task: asyncio.Task[T] = asyncio.get_running_loop().create_task(work)
        self.waits.add(task)
        task.add_done_callback(functools.partial(self._piped, on_result, on_error))
        return task

    def _piped(
        self,
        on_result: Callable[[T], Any],
        on_error: Callable[[Exception], Any] | None,
        task: asyncio.Task[T],
    ) -> None:
        self.waits.discard(task)
        if task.cancelled() and task.cancelling():
            return  # called off, not failed
        error = self._wait_cancelled() if task.cancelled() else task.exception()
        try:
            if error is None:
                message = on_result(task.result())
            elif on_error is not None and isinstance(error, Exception):
                message = on_error(error)
            else:
                message = Fail(error)
        except Exception as raised:
            message = Fail(raised)
        self._ref.tell_if_alive(message)

    def _wait_cancelled(self) -> WaitCancelled:
        return WaitCancelled(f"What {self._actor} awaited was cancelled")

    def after(self, delay_seconds: float, message: Any) -> Timer:
        """Tell the actor ``message`` after ``delay_seconds``."""
        ring = functools.partial(self._ref.tell_if_alive, message)
        return Timer(delay_seconds, ring, self.timers)

    async def _end_waits(self) -> None:
        for timer in tuple(self.timers):
            timer.cancel()
        for task in self.waits:
            task.cancel()
        if self.waits:
            await asyncio.wait(self.waits)


async def _await(awaitable: Awaitable[T]) -> T:
    return await awaitable


@coroutine
def _give_way() -> Generator[None, None, None]:
    """Let the loop run everything else that is ready."""
    yield
