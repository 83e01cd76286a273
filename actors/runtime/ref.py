"""References to asyncio actors."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeVar, overload

import pykka

from .future import AsyncioFuture
from .inbox import Inbox
from .pykka_internals import PykkaActor, StopMessage, actor_behind
from .query import Query

R = TypeVar("R")


class AsyncioRef(pykka.ActorRef[Any]):
    """What others hold of an actor. Usable from any thread unless said otherwise."""

    actor_inbox: Inbox

    def __init__(self, actor: PykkaActor) -> None:
        super().__init__(actor)
        self.ended: AsyncioFuture[BaseException | None] = AsyncioFuture()
        """Set when nothing of the actor is left running; the value is its failure, if any."""
        self.task: asyncio.Task[None] | None = None
        """Its life, for ``kill``; None before ``start()``."""

    def tell_if_alive(self, message: Any) -> bool:
        """Tell, or return False where ``tell`` would raise ActorDeadError."""
        try:
            self.tell(message)
        except pykka.ActorDeadError:
            return False
        return True

    async def request(
        self,
        query: Query[R],
        *,
        timeout: float | None,  # noqa: ASYNC109  part of the question, as in pykka's ask()
    ) -> R:
        """Ask and await the answer, for at most ``timeout`` seconds (None: without limit).

        Raises what the actor's handler raised, ActorDeadError where there is no actor (any
        more), pykka.Timeout. An answer that comes after that goes nowhere; the question is not
        taken back.
        """
        reply = self.ask(query, block=False)
        try:
            async with asyncio.timeout(timeout) as limit:
                answer: R = await reply
        except TimeoutError as error:
            if not limit.expired():
                raise  # the answer itself
            question = type(query).__name__
            raise pykka.Timeout(f"{self}: no answer to {question} in {timeout} s") from error
        return answer

    def inspect(self) -> object:
        """What the actor shows of itself; None when it has ended. On its event loop only."""
        actor = actor_behind(self)
        return None if actor is None or self.has_ended else actor.inspect()

    @property
    def failure(self) -> BaseException | None:
        """The exception that ended the actor; None while it lives or when it was stopped."""
        return self.ended.get() if self.has_ended else None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left running. ``is_alive()`` is false earlier."""
        return self.ended.done()

    async def joined(self) -> None:
        """Return when the actor has ended: after its last hook and its own tasks."""
        await self.ended

    def kill(self) -> None:
        """Cancel what the actor is doing, for one that does not stop in time.

        Its handler gets CancelledError, then ``on_failure`` runs with ActorKilled. Kill again to
        cut that short. Does nothing to an actor that has ended.
        """
        task = self.task
        if task is not None and not task.done():
            task.get_loop().call_soon_threadsafe(task.cancel)

    @overload
    def stop(self, *, block: Literal[True] = True, timeout: float | None = None) -> bool: ...

    @overload
    def stop(
        self, *, block: Literal[False], timeout: float | None = None
    ) -> AsyncioFuture[bool]: ...

    @overload
    def stop(
        self, *, block: bool = True, timeout: float | None = None
    ) -> bool | AsyncioFuture[bool]: ...

    def stop(
        self, *, block: bool = True, timeout: float | None = None
    ) -> bool | AsyncioFuture[bool]:
        """Stop the actor after the messages it has; False when it was dead already.

        The answer comes when the actor has ended, see ``joined``. pykka's own version answers
        with a get hook, which can only block: this one can be awaited with ``block=False``.
        """
        stopped: AsyncioFuture[bool] = AsyncioFuture()
        if self.tell_if_alive(StopMessage()):
            self.ended.subscribe(lambda: stopped.set(True))
        else:
            stopped.set(False)
        return stopped.get(timeout=timeout) if block else stopped
