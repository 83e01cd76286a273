"""Daemon threads for blocking calls.

The interpreter waits for the threads of :class:`concurrent.futures.ThreadPoolExecutor` before it
exits, so one that hangs in a name lookup would hold up the worker's end.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class ThreadPool:
    """Up to ``size`` calls at once, each in a thread of its own, begun in the order of arrival."""

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._free = asyncio.Semaphore(size)
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """The result of ``call``, made in a thread. RuntimeError: the pool is closed.

        If the caller is cancelled, a call that has not begun is dropped. One that has begun goes
        on, so end it by other means.
        """
        if self._closed:
            raise RuntimeError("this thread pool is closed")
        await self._free.acquire()
        future: Future[T] = Future()
        thread = threading.Thread(
            target=_make, args=(call, future), name=f"{self._name}-call", daemon=True
        )

        def ended(result: asyncio.Future[T]) -> None:
            thread.join()
            self._free.release()
            result.exception()  # retrieved: the caller may be gone

        result = asyncio.wrap_future(future)
        result.add_done_callback(ended)
        thread.start()
        return await asyncio.shield(result)

    async def aclose(self, *, patience_seconds: float = 5.0) -> None:
        """Wait for all calls; one that is stuck for ``patience_seconds`` is left behind."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                for _ in range(self._size):
                    await self._free.acquire()


def _make(call: Callable[[], T], future: Future[T]) -> None:
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
