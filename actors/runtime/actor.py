"""An actor kind for pykka whose actors are tasks of one asyncio event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from pykka import ActorRegistry

from .future import AsyncioFuture
from .inbox import Inbox
from .life import Life, Timer
from .pykka_internals import PykkaActor
from .query import Order
from .ref import AsyncioRef

T = TypeVar("T")


class UnknownMessage(TypeError):
    """An actor got a message that it does not know. The answer to a question, else its failure."""


class AsyncioActor(PykkaActor):
    """An actor that is a task of the event loop it was started on.

    Handlers, proxied methods and the ``on_...`` hooks may be plain or ``async def``; the actor
    handles one message at a time and gives way to others after each. Only native coroutines are
    awaited: a pykka future that a handler returns is a value, handed on as it is.

    What ends it: a stop (then ``on_stop`` runs), an exception that no asker is there to get
    (``on_failure``), a failing ``on_start`` (neither), or ``AsyncioRef.kill`` (``on_failure``).
    Unlike a thread of pykka's, SystemExit and the like end this actor alone, after its
    ``on_stop``: the other actors of the host program go on. And a message that an actor does not
    know is an error (UnknownMessage), where pykka logs a warning and answers None.
    """

    expected_failures: ClassVar[tuple[type[BaseException], ...]] = ()
    """Failures that tell the joiner something and are no bugs: no traceback is logged."""

    actor_inbox: Inbox

    _actor_inbox_type = Inbox
    _actor_future_type = AsyncioFuture
    _actor_ref_type = AsyncioRef

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> AsyncioRef:
        """Start an actor on the running event loop. RuntimeError when this is not on a loop."""
        if asyncio._get_running_loop() is None:  # before pykka registers it
            raise RuntimeError(
                f"{cls.__name__}.start() must be called on the event loop that the actor is to "
                "live on; from another thread use asyncio.run_coroutine_threadsafe()."
            )
        ref = super().start(*args, **kwargs)
        assert isinstance(ref, AsyncioRef)
        return ref

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._actor_life = Life(self)

    @property
    def actor_ref(self) -> AsyncioRef:
        """What others hold of this actor."""
        ref: AsyncioRef = super().actor_ref
        return ref

    # -- for subclasses --------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        """Refuse the message with UnknownMessage; subclasses handle what they know."""
        raise UnknownMessage(
            f"{type(self).__name__} does not know a message of type {type(message).__name__}"
        )

    def inspect(self) -> object:
        """A small frozen view of the state, for tests, dumps and the page; None: nothing to show.

        Everybody who reads the log can see it: no secrets, and names that outlive a redesign. It
        neither changes the actor nor waits, and may be called while an ``async`` handler waits.
        """
        return None

    def on_start(self) -> Any:
        """Acquire. An exception here ends the actor without any further hook."""

    def on_stop(self) -> Any:
        """Release, after a stop. The actor's waits and timers are over by now."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        """Release, after an exception that no asker got, or a kill (ActorKilled)."""

    def pipe(
        self,
        awaitable: Awaitable[T],
        on_result: Callable[[T], Any],
        on_error: Callable[[Exception], Any] | None = None,
    ) -> asyncio.Task[T]:
        """Await beside the mailbox and tell this actor ``on_result(value)``.

        An exception is told as ``on_error(exception)``; without ``on_error`` it ends the actor
        like one from a handler. The wait belongs to the actor and is cancelled when that ends;
        cancel the returned task to call it off before.
        """
        return self._actor_life.pipe(awaitable, on_result, on_error)

    def watch(
        self, ref: AsyncioRef, on_end: Callable[[BaseException | None], Any]
    ) -> asyncio.Task[BaseException | None]:
        """Tell this actor ``on_end(failure)`` when the other one has ended; None: was stopped."""
        return self.pipe(ref.ended, on_end)

    def after(self, delay_seconds: float, message: Any) -> Timer:
        """Tell this actor ``message`` after a while, unless it has ended by then.

        For periodic work, call it again whenever the work is done: then nothing piles up.
        """
        return self._actor_life.after(delay_seconds, message)

    # -- what pykka calls ------------------------------------------------------------------------

    def _actor_begin(self) -> None:
        self._actor_life.begin()

    def _actor_handle(self, message: Any) -> Any:
        if isinstance(message, Order):
            return message.carry_out(self)
        return super()._actor_handle(message)

    def _actor_failed(self, error: BaseException) -> None:
        if isinstance(error, self.expected_failures):
            ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
        else:
            super()._actor_failed(error)
