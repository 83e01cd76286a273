"""Messages to oneself later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.runtime import AsyncioActor, AsyncioRef, Timer
from tests.runtime.scribe import turns
from tests.support.virtual import virtual


def now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


class Sleeper(AsyncioActor):
    """Writes down when it heard what. ``set_up`` gets the actor when it starts."""

    def __init__(self, set_up: Callable[[Sleeper], Any]) -> None:
        super().__init__()
        self.set_up = set_up
        self.heard: list[tuple[float, str]] = []
        self.timer: Any = None

    def on_start(self) -> None:
        self.timer = self.set_up(self)

    async def on_receive(self, message: str) -> None:
        self.heard.append((now(), message))


def sleeper(ref: AsyncioRef) -> Sleeper:
    actor = ref._actor_weakref()
    assert isinstance(actor, Sleeper)
    return actor


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
    assert timer.cancel()
    assert not timer.cancel()
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
    assert not actor._actor_life.timers
    await asyncio.sleep(2000)
    assert actor.heard == []
