"""Messages to oneself later: after and every."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from actors.runtime import AsyncioActor, AsyncioRef, Cancellable, Ticker, Timer
from tests.runtime.scribe import turns
from tests.support.virtual import virtual


def now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


class Sleeper(AsyncioActor):
    """Writes down when it heard what. ``set_up`` gets the actor when it starts."""

    def __init__(self, set_up: Callable[[Sleeper], Any], handling_seconds: float = 0.0) -> None:
        super().__init__()
        self.set_up = set_up
        self.handling_seconds = handling_seconds
        self.heard: list[tuple[float, str]] = []
        self.timer: Any = None

    def on_start(self) -> None:
        self.timer = self.set_up(self)

    async def on_receive(self, message: str) -> None:
        self.heard.append((now(), message))
        if message == "fail":
            raise ValueError
        if message == "hold":
            self.timer.hold()
        await asyncio.sleep(self.handling_seconds)


def sleeper(ref: AsyncioRef) -> Sleeper:
    actor = ref._actor_weakref()
    assert isinstance(actor, Sleeper)
    return actor


# -- after -----------------------------------------------------------------------------------


@virtual
async def test_after_tells_once_when_the_time_has_come() -> None:
    ref = Sleeper.start(lambda actor: actor.after(2.5, "now"))
    await asyncio.sleep(10)
    assert sleeper(ref).heard == [(2.5, "now")]
    await ref.stop(block=False)


@virtual
async def test_a_cancelled_timer_is_silent_and_cancelling_again_is_harmless() -> None:
    ref = Sleeper.start(lambda actor: actor.after(2.5, "now"))
    await asyncio.sleep(1)
    timer: Timer = sleeper(ref).timer
    timer.cancel()
    timer.cancel()
    await asyncio.sleep(10)
    assert sleeper(ref).heard == []
    await ref.stop(block=False)


@virtual
async def test_timers_end_with_their_actor() -> None:
    """A timer left behind would keep the actor in memory, and virtual time running."""
    ref = Sleeper.start(lambda actor: actor.after(1000, "never"))
    await turns()
    actor = sleeper(ref)
    await ref.stop(block=False)
    assert not actor._actor_waits.timers
    await asyncio.sleep(2000)
    assert actor.heard == []


@virtual
async def test_the_clock_can_be_passed_in() -> None:
    class Handle:
        def cancel(self) -> None: ...

    class ByHand:
        def __init__(self) -> None:
            self.calls: list[tuple[float, Callable[[], None]]] = []

        def monotonic(self) -> float:
            return 0.0

        def call_later(self, delay: float, callback: Callable[[], None]) -> Cancellable:
            self.calls.append((delay, callback))
            return Handle()

    class Patient(AsyncioActor):
        def on_start(self) -> None:
            self.after(7.0, "now")

        def on_receive(self, message: str) -> None:
            heard.append(message)

    heard: list[str] = []
    clock = ByHand()
    ref = Patient.start(clock=clock)
    await turns()
    [(delay, ring)] = clock.calls
    ring()
    await ref.stop(block=False)
    assert (delay, heard) == (7.0, ["now"])


# -- every -----------------------------------------------------------------------------------


@virtual
async def test_every_asks_for_each_delay_anew() -> None:
    delays = iter([1.0, 2.0, 4.0, 100.0])  # backing off
    ref = Sleeper.start(lambda actor: actor.every(delays.__next__, "tick", first=0.5))
    await asyncio.sleep(10)
    assert sleeper(ref).heard == [(0.5, "tick"), (1.5, "tick"), (3.5, "tick"), (7.5, "tick")]
    await ref.stop(block=False)


@virtual
async def test_ticks_never_pile_up_however_slow_the_handler() -> None:
    ref = Sleeper.start(lambda actor: actor.every(lambda: 1.0, "tick"), 5.0)
    await asyncio.sleep(20)
    assert sleeper(ref).heard == [(0, "tick"), (6, "tick"), (12, "tick"), (18, "tick")]
    await ref.stop(block=False)


@virtual
async def test_a_ticker_never_fires_after_the_end() -> None:
    ref = Sleeper.start(lambda actor: actor.every(lambda: 1.0, "tick"))
    await asyncio.sleep(0.5)
    actor = sleeper(ref)
    await ref.stop(block=False)
    await asyncio.sleep(10)
    assert actor.heard == [(0, "tick")]


@virtual
async def test_a_cancelled_ticker_drops_even_a_tick_in_the_mailbox() -> None:
    ref = Sleeper.start(lambda actor: actor.every(lambda: 1.0, "tick", first=5.0))
    await asyncio.sleep(1)
    ticker: Ticker = sleeper(ref).timer
    ticker.wake()
    ticker.cancel()
    await asyncio.sleep(10)
    assert sleeper(ref).heard == []
    await ref.stop(block=False)


@virtual
async def test_a_held_ticker_waits_to_be_rearmed_and_may_be_told_to_back_off() -> None:
    ref = Sleeper.start(lambda actor: actor.every(lambda: 1.0, "hold"))
    await asyncio.sleep(5)
    ticker: Ticker = sleeper(ref).timer
    assert sleeper(ref).heard == [(0, "hold")]
    ticker.rearm()
    ticker.rearm()
    await asyncio.sleep(5)
    ticker.rearm(3.0)
    await asyncio.sleep(5)
    assert [at for at, _ in sleeper(ref).heard] == [0, 6, 13]
    await ref.stop(block=False)


@virtual
async def test_a_wake_ticks_at_once_and_the_rhythm_goes_on_from_there() -> None:
    ref = Sleeper.start(lambda actor: actor.every(lambda: 10.0, "tick"))
    await asyncio.sleep(4)
    ticker: Ticker = sleeper(ref).timer
    ticker.wake()
    ticker.wake()  # the same tick, still in the mailbox
    await asyncio.sleep(11)
    assert [at for at, _ in sleeper(ref).heard] == [0, 4, 14]
    await ref.stop(block=False)


@virtual
async def test_a_wake_while_a_tick_is_handled_brings_one_more_right_after() -> None:
    ref = Sleeper.start(lambda actor: actor.every(lambda: 10.0, "tick"), 3.0)
    await asyncio.sleep(1)
    ticker: Ticker = sleeper(ref).timer
    ticker.wake()
    ticker.wake()
    await asyncio.sleep(9)
    assert [at for at, _ in sleeper(ref).heard] == [0, 3]
    await ref.stop(block=False)


@virtual
async def test_a_tick_that_fails_ends_the_actor() -> None:
    ref = Sleeper.start(lambda actor: actor.every(lambda: 1.0, "fail"))
    await ref.joined()
    assert isinstance(ref.failure, ValueError)


@pytest.mark.parametrize("message", ["tick", "hold"])
def test_a_cancelled_ticker_cannot_be_armed_again(message: str) -> None:
    @virtual
    async def check() -> None:
        ref = Sleeper.start(lambda actor: actor.every(lambda: 1.0, message))
        await asyncio.sleep(0.5)
        ticker: Ticker = sleeper(ref).timer
        ticker.cancel()
        ticker.rearm()
        assert not sleeper(ref)._actor_waits.timers
        await asyncio.sleep(10)
        assert sleeper(ref).heard == [(0, message)]
        await ref.stop(block=False)

    check()
