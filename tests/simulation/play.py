"""Plays one seed from beginning to end and says what was broken."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from actors.testing.virtual_time import VirtualLoop

from .acts import Acts
from .all_rules import RULES
from .house import House
from .peace import (
    calm_down,
    end_what_sleeps,
    what_is_in_hand,
    what_is_left_behind,
    what_is_unsettled,
)
from .plan import draw

PATIENCE_SECONDS = 1800.0
"""Virtual: how long after the last trouble things may take to be settled."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed; ``problem`` None when every invariant held."""

    seed: int
    problem: str | None
    trace: tuple[str, ...]
    digest: str

    @property
    def rule(self) -> str:
        """The name of the broken rule."""
        return "" if self.problem is None else self.problem.partition(":")[0]


def play(seed: int, *, keep_trace: bool = True) -> Outcome:
    """Simulate ``seed``. ``keep_trace`` False saves the time to put a good trace into words."""
    house: House | None = None

    def at_rest() -> None:
        if house is not None and not house.problems:
            house.rest()

    loop = VirtualLoop(at_rest=at_rest)
    loop.set_exception_handler(lambda loop, context: None)  # of what was killed
    with _quiet(), asyncio.Runner(loop_factory=lambda: loop) as runner:

        async def tell() -> None:
            nonlocal house
            house = House(seed, draw(seed), loop.time)
            house.rules = RULES
            await _story(house)

        runner.run(tell())
    assert house is not None
    problem = house.problems[0] if house.problems else None
    wanted = keep_trace or problem is not None
    return Outcome(
        seed,
        problem,
        tuple(house.trace.lines()) if wanted else (),
        house.trace.digest() if wanted else "",
    )


async def _story(house: House) -> None:
    Acts(house).arrange()
    tending = asyncio.ensure_future(house.tend())
    trouble = asyncio.ensure_future(house.in_trouble.wait())
    story = asyncio.ensure_future(_to_the_end(house))
    try:
        done, _ = await asyncio.wait(
            {tending, trouble, story}, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done - {trouble}:
            await task
    finally:
        house.life.over = True
        for task in (story, trouble, tending):
            task.cancel()
        await asyncio.wait({story, trouble, tending})
        if house.wiring is not None:
            await house.bury()


async def _to_the_end(house: House) -> None:
    await asyncio.sleep(house.plan.calm_at)
    calm_down(house)
    await _until_nothing(house, lambda: what_is_unsettled(house, sleeping=True))

    def unsettled_though_ended() -> str | None:
        end_what_sleeps(house)
        return what_is_unsettled(house, sleeping=False) or what_is_in_hand(house)

    await _until_nothing(house, unsettled_though_ended)
    # What was closed while the disk was full, or given up, is found by the next worker.
    await _until_nothing(house, lambda: None if house.up() else "there is no worker")
    house.bugs.mended = True
    await house.restart()
    await _until_nothing(house, lambda: unsettled_though_ended() or what_is_left_behind(house))
    house.judge(house.rules.at_end)


async def _until_nothing(house: House, wrong: Callable[[], str | None]) -> None:
    deadline = house.clock.monotonic() + PATIENCE_SECONDS
    while what := wrong():
        if house.clock.monotonic() > deadline:
            house.blame("everything_is_settled_in_the_end", what)
            return
        await asyncio.sleep(5.0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without logs, which nobody would read, and without collections in between."""
    before: dict[str, Any] = structlog.get_config()
    disabled = logging.root.manager.disable
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        processors=[],
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.disable(logging.CRITICAL)
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        logging.disable(disabled)
        structlog.configure(**before)
