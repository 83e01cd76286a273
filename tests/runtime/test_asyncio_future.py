"""What AsyncioFuture adds to pykka's futures: it is awaited, and never freezes a loop."""

from __future__ import annotations

import asyncio
import threading
import types
from collections.abc import Generator
from typing import Any

import pykka
import pytest

from actors.runtime import AsyncioFuture
from tests.runtime.kinds import SECONDS, stranded
from tests.support.virtual import virtual


def settled(value: Any) -> AsyncioFuture[Any]:
    future: AsyncioFuture[Any] = AsyncioFuture()
    future.set(value)
    return future


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@virtual
async def test_several_tasks_await_one_future() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    waits = [asyncio.ensure_future(future) for _ in range(3)]
    await turns()
    future.set(7)
    assert await asyncio.gather(*waits) == [7, 7, 7]
    assert await future == 7


def test_tasks_of_several_loops_await_one_future() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    got: list[int] = []
    waiting = threading.Barrier(3)

    async def wait() -> None:
        asyncio.get_running_loop().call_soon(waiting.wait)  # runs once the wait has begun
        got.append(await future)

    threads = [threading.Thread(target=asyncio.run, args=(wait(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    waiting.wait(SECONDS)
    future.set(7)
    for thread in threads:
        thread.join(SECONDS)
    assert got == [7, 7]


@virtual
async def test_a_cancelled_awaiter_leaves_the_reply_to_the_others() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    cancelled, patient = asyncio.ensure_future(future), asyncio.ensure_future(future)
    await turns()
    cancelled.cancel()
    await turns()
    assert cancelled.cancelled()
    future.set(7)
    assert await patient == 7


@virtual
async def test_a_timed_out_awaiter_leaves_the_reply_settable() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await future
    future.set(7)
    assert await future == 7


def test_an_awaiter_whose_loop_is_gone_does_not_disturb_the_setter() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()

    async def wait() -> None:
        await future

    with stranded(wait()):
        future.set(7)
        assert future.get() == 7


@virtual
async def test_awaiting_raises_what_was_set() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    future.set_exception((KeyError, KeyError("a"), None))
    for _ in range(2):
        with pytest.raises(KeyError):
            await future


@virtual
async def test_a_future_works_with_yield_from() -> None:
    @types.coroutine
    def old_style() -> Generator[Any, None, int]:
        return (yield from future)

    future: AsyncioFuture[int] = AsyncioFuture()
    asyncio.get_running_loop().call_later(1, future.set, 7)
    assert await old_style() == 7


@virtual
async def test_get_on_a_loop_raises_instead_of_freezing_it() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    for timeout in (None, 1.0):
        with pytest.raises(RuntimeError, match="await the future"):
            future.get(timeout=timeout)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)
    future.set(7)
    assert future.get() == 7


@virtual
async def test_a_get_hook_on_a_loop_raises_instead_of_freezing_it() -> None:
    future: AsyncioFuture[int] = AsyncioFuture()
    future.set_get_hook(lambda timeout: 7)
    with pytest.raises(RuntimeError, match="await the future"):
        future.get()


def test_combinators_are_awaited() -> None:
    async def main() -> None:
        future: AsyncioFuture[Any] = AsyncioFuture()
        results = asyncio.gather(
            future.map(len),
            future.filter(lambda item: item > 1),
            future.reduce(lambda a, b: a + b, 0),
            future.join(settled("other"), future.map(sum)),
            future.map(sum).map(str),
        )
        await turns()
        assert not results.done()
        future.set([1, 2])
        assert await results == [2, [2], 3, [[1, 2], "other", 3], "3"]
        with pytest.raises(TypeError):
            await settled(1).map(len)

    asyncio.run(main())


def test_a_get_hook_that_blocks_is_awaited_in_a_thread() -> None:
    gate = threading.Event()

    async def main() -> None:
        future: AsyncioFuture[bool] = AsyncioFuture()
        future.set_get_hook(lambda timeout: gate.wait(SECONDS))
        wait = asyncio.ensure_future(future)
        await turns()  # the loop goes on meanwhile
        gate.set()
        assert await wait is True
        assert future.get() is True

    asyncio.run(main())


def test_a_join_with_another_kind_of_future_is_awaited_in_a_thread() -> None:
    async def main() -> None:
        threaded: pykka.ThreadingFuture[int] = pykka.ThreadingFuture()
        joined = asyncio.ensure_future(settled(1).join(threaded))
        await turns()
        threaded.set(2)
        assert await joined == [1, 2]

    asyncio.run(main())


def test_a_subscriber_is_called_once_there_is_a_result() -> None:
    calls: list[str] = []
    future: AsyncioFuture[int] = AsyncioFuture()
    future.subscribe(lambda: calls.append("early"))
    assert calls == []
    future.set(7)
    future.subscribe(lambda: calls.append("late"))
    assert calls == ["early", "late"]
    assert future.done()
