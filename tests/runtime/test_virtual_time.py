"""The loop whose time is virtual, and the clock that follows it."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from actors.runtime import LoopClock
from actors.testing.virtual_time import START, Deadlock, VirtualLoop, run_virtual
from tests.runtime.scribe import forever
from tests.support.virtual import virtual


@virtual
async def test_days_pass_at_once() -> None:
    await asyncio.sleep(100 * 24 * 3600)
    assert asyncio.get_running_loop().time() == pytest.approx(100 * 24 * 3600)


@virtual
async def test_sleep_timeout_and_call_later_follow_virtual_time() -> None:
    loop = asyncio.get_running_loop()
    calls: list[float] = []
    loop.call_later(3, lambda: calls.append(loop.time()))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await forever()
    await asyncio.sleep(60)
    assert calls == [pytest.approx(3)]
    assert loop.time() == pytest.approx(65)


@virtual
async def test_timers_ring_in_order_of_time_and_then_of_arming() -> None:
    rung: list[str] = []
    loop = asyncio.get_running_loop()
    for name, delay in (("c", 2.0), ("a", 1.0), ("b", 1.0)):
        loop.call_later(delay, rung.append, name)
    await asyncio.sleep(3)
    assert rung == ["a", "b", "c"]


def test_the_wall_clock_starts_where_it_is_told_to() -> None:
    async def later() -> tuple[datetime, datetime]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        first = loop.clock.now()
        await loop.clock.sleep(90)
        return first, loop.clock.now()

    eve = datetime(1999, 12, 31, 23, 59, tzinfo=UTC)
    assert run_virtual(later(), start=eve) == (eve, eve + timedelta(seconds=90))
    assert run_virtual(later()) == (START, START + timedelta(seconds=90))


def test_a_loop_clock_without_an_epoch_reads_the_systems_wall_clock() -> None:
    before = datetime.now(UTC)
    assert before <= LoopClock().now() <= datetime.now(UTC)


@virtual
async def test_a_loop_clock_calls_later_and_can_be_called_off() -> None:
    clock, calls = LoopClock(), list[float]()
    clock.call_later(1.0, lambda: calls.append(clock.monotonic()))
    clock.call_later(2.0, lambda: calls.append(clock.monotonic())).cancel()
    await clock.sleep(3.0)
    assert calls == [pytest.approx(1.0)]


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    async def wait_for_godot() -> None:
        await asyncio.create_task(forever(), name="vladimir")

    with pytest.raises(Deadlock, match=r"vladimir at .*scribe\.py:\d+"):
        run_virtual(wait_for_godot())


def test_at_rest_is_called_before_each_jump_with_all_work_of_that_time_done() -> None:
    done: list[str] = []
    seen: list[tuple[float, list[str]]] = []

    async def main() -> None:
        for name in ("first", "second"):
            asyncio.get_running_loop().call_soon(done.append, name)
            await asyncio.sleep(5)

    loop = VirtualLoop(at_rest=lambda: seen.append((loop.time(), done.copy())))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
    assert seen == [(0, ["first"]), (5, ["first", "second"])]


def test_threads_are_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="no threads"):
            await asyncio.to_thread(print)
        errors: list[BaseException] = []

        def from_outside() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=from_outside)
        thread.start()
        thread.join()
        assert len(errors) == 1

    run_virtual(main())


@virtual
async def test_call_soon_threadsafe_from_the_loops_own_thread_is_call_soon() -> None:
    called = asyncio.Event()
    asyncio.get_running_loop().call_soon_threadsafe(called.set)
    await called.wait()
