"""A pool of daemon threads for blocking calls.

The interpreter waits for the threads of :class:`concurrent.futures.ThreadPoolExecutor` before it
exits, so one that hangs in a name lookup would hold up the worker's end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Work = tuple[Future[Any], Callable[[], Any]]


class ThreadPool:
    """Up to ``size`` threads, started when first needed."""

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads: list[tuple[threading.Thread, Future[None]]] = []
        self._idle = threading.Semaphore(0)
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """The result of ``call``, made in one of the threads. RuntimeError: the pool is closed.

        If the caller is cancelled, a call that has not begun is dropped. One that has begun goes
        on, so end it by other means.
        """
        if self._closed:
            raise RuntimeError("this thread pool is closed")
        future: Future[T] = Future()
        short = not self._idle.acquire(blocking=False) and len(self._threads) < self._size
        self._queue.put((future, call))
        if short:
            # After put(): a thread that finds nothing to do counts as idle, and the next call
            # would get no thread of its own.
            self._start_thread()
        return await asyncio.wrap_future(future)

    async def aclose(self, *, patience_seconds: float = 5.0) -> None:
        """End the threads; one that is stuck for ``patience_seconds`` is left behind."""
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        ends = [asyncio.wrap_future(end) for _, end in self._threads]
        if ends:
            await asyncio.wait(ends, timeout=patience_seconds)
        for (thread, _), end in zip(self._threads, ends, strict=True):
            if end.done():
                thread.join()
        self._threads.clear()

    def _start_thread(self) -> None:
        end: Future[None] = Future()
        thread = threading.Thread(
            target=_serve,
            args=(self._queue, self._idle, end),
            name=f"{self._name}-{len(self._threads) + 1}",
            daemon=True,
        )
        self._threads.append((thread, end))
        thread.start()


def _serve(queue: SimpleQueue[_Work | None], idle: threading.Semaphore, end: Future[None]) -> None:
    while (work := _next(queue, idle)) is not None:
        future, call = work
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
        del work, future, call
    end.set_result(None)


def _next(queue: SimpleQueue[_Work | None], idle: threading.Semaphore) -> _Work | None:
    try:
        return queue.get_nowait()
    except Empty:
        idle.release()
        return queue.get()
