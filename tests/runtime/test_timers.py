"""Messages to oneself later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.runtime import AsyncioActor, Timer
from tests.runtime.scribe import turns
from tests.support.virtual import virtual


def now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


class Sleeper(AsyncioActor):
    """Writes down when it heard what. ``set_up`` gets the actor when it starts."""

    def __init__(self, heard: list[tuple[float, str]], set_up: Callable[[Sleeper], Any]) -> None:
        super().__init__()
        self.heard = heard
        self.set_up = set_up

    def on_start(self) -> None:
        self.set_up(self)

    async def on_receive(self, message: str) -> None:
        self.heard.append((now(), message))


@virtual
async def test_after_tells_once_when_the_time_has_come() -> None:
    heard: list[tuple[float, str]] = []
    ref = Sleeper.start(heard, lambda actor: actor.after(2.5, "now"))
    await asyncio.sleep(10)
    assert heard == [(2.5, "now")]
    await ref.stop(block=False)


@virtual
async def test_a_cancelled_timer_is_silent_and_cancelling_again_is_harmless() -> None:
    heard: list[tuple[float, str]] = []
    timers: list[Timer] = []
    ref = Sleeper.start(heard, lambda actor: timers.append(actor.after(2.5, "now")))
    await asyncio.sleep(1)
    (timer,) = timers
    assert timer.cancel()
    assert not timer.cancel()
    await asyncio.sleep(10)
    assert heard == []
    await ref.stop(block=False)


@virtual
async def test_timers_end_with_their_actor() -> None:
    """A timer left behind would keep the actor in memory, and virtual time running."""
    heard: list[tuple[float, str]] = []
    timers: list[Timer] = []
    ref = Sleeper.start(heard, lambda actor: timers.append(actor.after(1000, "never")))
    await turns()
    await ref.stop(block=False)
    (timer,) = timers
    assert not timer.cancel(), "it was still set"
    await asyncio.sleep(2000)
    assert heard == []
