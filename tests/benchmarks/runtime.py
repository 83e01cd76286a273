"""``python -m tests.benchmarks.runtime``: what a message costs, beside pykka's own actors.

Asyncio actors are asked from their loop, pykka's thread actors from the main thread. Rounds
alternate, so that what else the machine does falls on both; the ratio is of the medians.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import pykka

from actors.runtime import AsyncioActor, Query

ROUNDS: Final = 9
TELLS: Final = 20_000
ASKS: Final = 5_000
STARTS: Final = 500

Round = Callable[[], float]
"""Microseconds per message, or per actor."""


@dataclass(frozen=True, slots=True)
class Sum(Query[int]):
    """Question: of all numbers told so far."""


class _Adding:
    """What both kinds of actor do."""

    def __init__(self) -> None:
        super().__init__()
        self._sum = 0

    def on_receive(self, message: Any) -> int:
        """A number to add, or the question."""
        if not isinstance(message, Sum):
            self._sum += message
        return self._sum


class OnLoop(_Adding, AsyncioActor):
    """A task."""


class OnThread(_Adding, pykka.ThreadingActor):
    """A thread."""


def loop_tells() -> float:
    """Tell, and wait until all are handled."""

    async def story() -> float:
        actor = OnLoop.start()
        began = time.perf_counter()
        for _ in range(TELLS):
            actor.tell(1)
        assert await actor.request(Sum(), timeout=None) == TELLS
        return await _stopped(actor, (time.perf_counter() - began) / TELLS)

    return asyncio.run(story())


def thread_tells() -> float:
    actor = OnThread.start()
    began = time.perf_counter()
    for _ in range(TELLS):
        actor.tell(1)
    assert actor.ask(Sum()) == TELLS
    took = time.perf_counter() - began
    actor.stop()
    return took / TELLS * 1e6


def loop_asks() -> float:
    """Ask, await the answer, ask again."""

    async def story() -> float:
        actor = OnLoop.start()
        began = time.perf_counter()
        for _ in range(ASKS):
            await actor.request(Sum(), timeout=None)
        return await _stopped(actor, (time.perf_counter() - began) / ASKS)

    return asyncio.run(story())


def thread_asks() -> float:
    actor = OnThread.start()
    began = time.perf_counter()
    for _ in range(ASKS):
        actor.ask(Sum())
    took = time.perf_counter() - began
    actor.stop()
    return took / ASKS * 1e6


def loop_starts() -> float:
    """Start many, ask each one once, stop them all."""

    async def story() -> float:
        began = time.perf_counter()
        actors = [OnLoop.start() for _ in range(STARTS)]
        for actor in actors:
            await actor.request(Sum(), timeout=None)
        await asyncio.gather(*(actor.stop(block=False) for actor in actors))
        return (time.perf_counter() - began) / STARTS * 1e6

    return asyncio.run(story())


def thread_starts() -> float:
    began = time.perf_counter()
    actors = [OnThread.start() for _ in range(STARTS)]
    for actor in actors:
        actor.ask(Sum())
    for stopping in [actor.stop(block=False) for actor in actors]:
        stopping.get()
    return (time.perf_counter() - began) / STARTS * 1e6


async def _stopped(actor: Any, seconds: float) -> float:
    await actor.stop(block=False)
    return seconds * 1e6


def main() -> None:
    """Print the figures."""
    contests: dict[str, tuple[Round, Round]] = {
        "tell": (loop_tells, thread_tells),
        "ask": (loop_asks, thread_asks),
        "start, ask, stop": (loop_starts, thread_starts),
    }
    print(f"microseconds, medians of {ROUNDS} rounds   asyncio    thread    ratio")
    for name, (loop, thread) in contests.items():
        rounds = [(loop(), thread()) for _ in range(ROUNDS)]
        ours, theirs = (median(column) for column in zip(*rounds, strict=True))
        print(f"{name:38}{ours:10.1f}{theirs:10.1f}{ours / theirs:9.2f}")


if __name__ == "__main__":
    main()
