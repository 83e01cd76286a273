"""pykka's future for asyncio: set from any thread, awaited on any loop, got from threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, TypeVar, cast

import pykka

T = TypeVar("T")
J = TypeVar("J")
R = TypeVar("R")

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


class AsyncioFuture(pykka.Future[T]):
    """A value that is there now or later.

    As with pykka's other futures, a get hook is called by the first ``get()`` (or await) and its
    value is kept. ``map``, ``join``, ``filter`` and ``reduce`` name the futures they read, so
    awaiting the result waits for those and needs no thread. Any other hook may block, so awaiting
    it runs it on the loop's default executor.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hook: Callable[[float | None], T] | None = None
        self._lock = threading.Lock()
        self._outcome: tuple[Any, ExcInfo | None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._reads: tuple[pykka.Future[Any], ...] | None = None

    def get(self, *, timeout: float | None = None) -> T:
        """The value, waiting up to ``timeout`` seconds for it (None: without limit).

        Raises the exception that was set, pykka.Timeout, or RuntimeError on the thread of a
        running event loop when there is nothing to return yet: waiting would freeze the loop.
        """
        if self._outcome is None:
            if self._hook is None:
                self._block(timeout)
            else:
                self._call_hook(self._hook, timeout)
        assert self._outcome is not None
        value, exc_info = self._outcome
        if exc_info is None:
            return cast("T", value)
        kind, error, traceback = exc_info
        assert kind is not None, "set_exception() was called without an exception"
        raise (kind() if error is None else error).with_traceback(traceback)

    def _block(self, timeout: float | None) -> None:
        if timeout is None or timeout > 0:
            _refuse_to_freeze()
        done = threading.Event()
        self.subscribe(done.set)
        if not done.wait(timeout):
            self._unsubscribe(done.set)
            raise pykka.Timeout(f"{timeout} seconds")

    def _call_hook(self, hook: Callable[[float | None], T], timeout: float | None) -> None:
        if self._reads is None and (timeout is None or timeout > 0):
            _refuse_to_freeze()
        with self._lock:
            if self._outcome is None:
                self._outcome = hook(timeout), None
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def done(self) -> bool:
        """Whether there is a result, so that ``get()`` returns or raises it at once."""
        return self._outcome is not None

    def set(self, value: T | None = None) -> None:
        """Set the value. queue.Full, as in pykka, when there is a result or a get hook."""
        self._settle((value, None))

    def set_exception(self, exc_info: ExcInfo | None = None) -> None:
        """Set ``exc_info``, by default the exception being handled. queue.Full as in set()."""
        exc_info = sys.exc_info() if exc_info is None else exc_info
        assert len(exc_info) == 3
        self._settle((None, exc_info))

    def _settle(self, outcome: tuple[Any, ExcInfo | None]) -> None:
        if self._hook is not None:  # before the lock: a hook that blocks would hold it
            raise queue.Full
        with self._lock:
            if self._outcome is not None or self._hook is not None:
                raise queue.Full
            self._outcome = outcome
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def set_get_hook(
        self,
        func: Callable[[float | None], T],
        *,
        reads: Iterable[pykka.Future[Any]] | None = None,
    ) -> None:
        """Let ``func(timeout)`` produce the value. queue.Full when there is a result already.

        ``reads`` are the futures that ``func`` gets: once they have their values it will not
        block. None: it may.
        """
        with self._lock:
            if self._outcome is not None:
                raise queue.Full
            self._hook = func
            self._reads = None if reads is None else tuple(reads)

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once there is a result: at once, or in the thread that sets it.

        It must neither raise nor block. A get hook has no result until somebody gets it.
        """
        with self._lock:
            if self._outcome is None:
                self._callbacks.append(callback)
                return
        callback()

    def _unsubscribe(self, callback: Callable[[], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._callbacks.remove(callback)

    def __await__(self) -> Generator[Any, None, T]:
        if self._outcome is None:
            if self._hook is None:
                yield from self._suspend()
            elif self._reads is None:
                return (yield from _get_in_thread(self))
            else:
                for source in self._reads:
                    yield from _wait_for(source)
        return self.get()

    __iter__ = __await__

    def _suspend(self) -> Generator[Any, None, None]:
        """Wait on a future of one's own, so that a cancelled wait leaves the reply as it is."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        callback = functools.partial(wake, waiter)
        self.subscribe(cast("Callable[[], None]", callback))
        try:
            yield from waiter.__await__()
        except BaseException:
            self._unsubscribe(cast("Callable[[], None]", callback))
            raise

    def map(self, func: Callable[[T], R]) -> AsyncioFuture[R]:
        """A future of ``func(value)``."""
        return _reading(super().map(func), self)

    def join(
        self: AsyncioFuture[Any], *futures: pykka.Future[Any]
    ) -> AsyncioFuture[Iterable[Any]]:
        """A future of the list of this and all other values."""
        return _reading(super().join(*futures), self, *futures)

    def filter(
        self: AsyncioFuture[Iterable[J]], func: Callable[[J], bool]
    ) -> AsyncioFuture[Iterable[J]]:
        """A future of the list of those items for which ``func(item)`` is true."""
        return _reading(super().filter(func), self)

    def reduce(
        self: AsyncioFuture[Iterable[J]], func: Callable[[R, J], R], *args: R
    ) -> AsyncioFuture[R]:
        """A future of ``functools.reduce(func, value, *args)``."""
        return _reading(super().reduce(func, *args), self)


def _reading(derived: pykka.Future[R], *sources: pykka.Future[Any]) -> AsyncioFuture[R]:
    """Tell a future that pykka derived with a get hook which futures the hook gets."""
    assert isinstance(derived, AsyncioFuture)
    derived._reads = sources
    return derived


def _wait_for(source: pykka.Future[Any]) -> Generator[Any, None, Any]:
    """Await a future of any kind; the other kinds only know how to block."""
    return source.__await__() if isinstance(source, AsyncioFuture) else _get_in_thread(source)


def _get_in_thread(future: pykka.Future[T]) -> Generator[Any, None, T]:
    return asyncio.get_running_loop().run_in_executor(None, future.get).__await__()


def _refuse_to_freeze() -> None:
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "Blocking here would freeze the event loop that runs on this thread: await the "
            "future instead of get(); call ask() and stop() with block=False."
        )
