"""What AsyncioRef adds to pykka's references."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from pykka import Timeout

from actors.runtime import (
    AsyncioActor,
    Query,
)
from tests.runtime.scribe import Scribe, forever
from tests.support.virtual import virtual


class Sum(Query[int]):
    def __init__(self, a: int, b: int) -> None:
        self.a, self.b = a, b


class Calculator(AsyncioActor):
    async def on_receive(self, message: Sum) -> int:
        await asyncio.sleep(1)
        return message.a + message.b


@virtual
async def test_request_gives_the_answer_with_its_type() -> None:
    ref = Calculator.start()
    total: int = await ref.request(Sum(1, 2), timeout=5)
    assert total == 3
    assert await ref.request(Sum(1, 2), timeout=None) == 3
    await ref.stop(block=False)


@virtual
async def test_request_times_out_and_a_late_answer_is_ignored() -> None:
    ref = Calculator.start()
    with pytest.raises(Timeout, match="no answer to Sum"):
        await ref.request(Sum(1, 2), timeout=0.5)
    assert await ref.request(Sum(2, 2), timeout=5) == 4
    await ref.stop(block=False)


@virtual
async def test_a_timeout_error_that_is_the_answer_is_not_taken_for_a_timeout() -> None:
    class Impatient(AsyncioActor):
        def on_receive(self, message: object) -> None:
            raise TimeoutError("inside")

    ref = Impatient.start()
    with pytest.raises(TimeoutError, match="inside"):
        await ref.request(Sum(1, 2), timeout=5)
    await ref.stop(block=False)


@virtual
async def test_joined_returns_after_on_stop_although_is_alive_is_false_before() -> None:
    diary: list[str] = []
    ref = Scribe.start(diary, stop=lambda: asyncio.sleep(1))
    stopped = ref.stop(block=False)
    await asyncio.sleep(0.5)
    assert not ref.is_alive()
    assert not ref.has_ended
    assert diary == ["start"]
    await ref.joined()
    assert diary == ["start", "stop"]
    assert await stopped is True


@virtual
async def test_stop_is_awaited_without_a_thread_and_says_whether_the_actor_lived() -> None:
    ref = Scribe.start([])
    assert await ref.stop(block=False) is True
    assert await ref.stop(block=False) is False
    assert not ref.tell_if_alive(forever)


@virtual
async def test_blocking_on_the_loop_is_refused_with_a_hint() -> None:
    ref = Scribe.start([])
    blocking: list[Callable[[], object]] = [ref.stop, lambda: ref.ask(lambda: 1)]
    for call in blocking:
        with pytest.raises(RuntimeError, match="block=False"):
            call()
    await ref.joined()
