"""Both kinds of actor behind one face, so that one suite can run over them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import pykka

from actors.runtime import AsyncioActor, AsyncioFuture

T = TypeVar("T")

SECONDS = 60.0
"""How long a test waits for an event that must come, until it counts as failed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of actor, and where its actors may be started."""

    actor_class: type[Any]
    future_class: type[pykka.Future[Any]]
    call: Callable[[Callable[[], Any]], Any]

    def of(self, behaviour: type[Any]) -> type[Any]:
        """An actor class of this kind that behaves like ``behaviour``."""
        return type(behaviour.__name__, (behaviour, self.actor_class), {})

    def start(self, behaviour: type[Any], *args: Any) -> pykka.ActorRef[Any]:
        """Start an actor that behaves like ``behaviour``."""
        made = self.of(behaviour)
        return cast("pykka.ActorRef[Any]", self.call(lambda: made.start(*args)))


@contextmanager
def threading_kind() -> Iterator[Kind]:
    yield Kind(pykka.ThreadingActor, pykka.ThreadingFuture, lambda func: func())


@contextmanager
def asyncio_kind() -> Iterator[Kind]:
    with loop_thread() as call:
        yield Kind(AsyncioActor, AsyncioFuture, call)


@contextmanager
def loop_thread() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """An event loop in a thread of its own; yields what calls a function there."""
    loops: list[asyncio.AbstractEventLoop] = []
    up, over = threading.Event(), asyncio.Event()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        up.set()
        await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert up.wait(SECONDS)

    def call(func: Callable[[], T]) -> T:
        async def there() -> T:
            return func()

        return asyncio.run_coroutine_threadsafe(there(), loops[0]).result(SECONDS)

    try:
        yield call
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(SECONDS)


@contextmanager
def stranded(wait: Coroutine[Any, Any, Any]) -> Iterator[None]:
    """``wait`` has begun, on an event loop that was closed under it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # it would say so when the task is collected
    task = loop.create_task(wait)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    yield
    wait.close()
    del task
