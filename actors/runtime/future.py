"""pykka's future for asyncio: set from any thread, awaited on any loop, got from threads."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar

import pykka

T = TypeVar("T")

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


def wake(waiter: asyncio.Future[None]) -> bool:
    """Resolve ``waiter``, from whatever thread. False: its loop is closed, nobody is waiting."""
    loop = waiter.get_loop()
    if asyncio._get_running_loop() is loop:
        _resolve(waiter)
        return True
    try:
        loop.call_soon_threadsafe(_resolve, waiter)
    except RuntimeError:
        return False
    return True


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class AsyncioFuture(pykka.ThreadingFuture[T]):
    """A value that is there now or later; pykka's future for threads, which can be awaited too.

    A get hook, such as ``map`` and its like set, may block: awaiting such a future calls the
    hook on the loop's default executor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self._done = False
        self._hooked = False

    def get(self, *, timeout: float | None = None) -> T:
        """The value, waiting up to ``timeout`` seconds for it (None: without limit).

        Raises the exception that was set, pykka.Timeout, or RuntimeError on the thread of a
        running event loop when there is nothing to return yet: waiting would freeze the loop.
        """
        may_block = not self._done and (timeout is None or timeout > 0)
        if may_block and asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "Blocking here would freeze the event loop that runs on this thread: await the "
                "future instead of get(); call ask() and stop() with block=False."
            )
        value: T = super().get(timeout=timeout)
        self._done = True
        return value

    def done(self) -> bool:
        """Whether a result was set, so that ``get()`` returns or raises it at once."""
        return self._done

    def set(self, value: T | None = None) -> None:
        """Set the value. queue.Full, as in pykka, when there is a result or a get hook."""
        super().set(value)
        self._call_back()

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Set ``exc_info``, by default the exception being handled. queue.Full as in set()."""
        super().set_exception(exc_info)
        self._call_back()

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let ``func(timeout)`` produce the value. queue.Full when there is a result already."""
        super().set_get_hook(func)
        self._hooked = True

    def _call_back(self) -> None:
        with self._lock:
            self._done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def subscribe(self, callback: Callable[[], object]) -> None:
        """Call ``callback`` once a result is set: at once, or in the thread that sets it.

        It must neither raise nor block. A get hook sets no result.
        """
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback()

    def __await__(self) -> Generator[Any, None, T]:
        if self._hooked and not self._done:
            got = asyncio.get_running_loop().run_in_executor(None, self.get)
            return (yield from got.__await__())
        if not self._done:
            yield from self._suspend()
        return self.get()

    __iter__ = __await__

    def _suspend(self) -> Generator[Any, None, None]:
        """Wait on a future of one's own, so that a cancelled wait leaves the reply as it is."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        callback = functools.partial(wake, waiter)
        self.subscribe(callback)
        try:
            yield from waiter
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
