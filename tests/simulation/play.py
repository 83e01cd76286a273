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
from .calm import (
    calm_down,
    end_what_sleeps,
    what_is_in_hand,
    what_is_left_behind,
    what_is_unsettled,
)
from .drawing import draw
from .simulation import Simulation

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
    sim: Simulation | None = None

    def at_rest() -> None:
        if sim is not None and not sim.problems:
            sim.rest()

    loop = VirtualLoop(at_rest=at_rest)
    loop.set_exception_handler(lambda loop, context: None)  # of what was killed
    with _quiet(), asyncio.Runner(loop_factory=lambda: loop) as runner:

        async def tell() -> None:
            nonlocal sim
            sim = Simulation(seed, draw(seed), loop.time)
            sim.rules = RULES
            await _story(sim)

        runner.run(tell())
    assert sim is not None
    problem = sim.problems[0] if sim.problems else None
    wanted = keep_trace or problem is not None
    return Outcome(
        seed,
        problem,
        tuple(sim.trace.lines()) if wanted else (),
        sim.trace.digest() if wanted else "",
    )


async def _story(sim: Simulation) -> None:
    Acts(sim).arrange()
    worker = asyncio.ensure_future(sim.keep_worker_running())
    trouble = asyncio.ensure_future(sim.in_trouble.wait())
    story = asyncio.ensure_future(_to_the_end(sim))
    try:
        done, _ = await asyncio.wait({worker, trouble, story}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {trouble}:
            await task
    finally:
        sim.life.over = True
        for task in (story, trouble, worker):
            task.cancel()
        await asyncio.wait({story, trouble, worker})
        if sim.wiring is not None:
            await sim.finalize_worker()


async def _to_the_end(sim: Simulation) -> None:
    await asyncio.sleep(sim.plan.calm_at)
    calm_down(sim)
    await _until_nothing(sim, lambda: what_is_unsettled(sim, sleeping=True))

    def unsettled_though_ended() -> str | None:
        end_what_sleeps(sim)
        return what_is_unsettled(sim, sleeping=False) or what_is_in_hand(sim)

    await _until_nothing(sim, unsettled_though_ended)
    # What was closed while the disk was full, or given up, is found by the next worker.
    await _until_nothing(sim, lambda: None if sim.up() else "there is no worker")
    sim.bugs.mended = True
    await sim.restart()
    await _until_nothing(sim, lambda: unsettled_though_ended() or what_is_left_behind(sim))
    sim.judge(sim.rules.at_end)


async def _until_nothing(sim: Simulation, wrong: Callable[[], str | None]) -> None:
    deadline = sim.clock.monotonic() + PATIENCE_SECONDS
    while what := wrong():
        if sim.clock.monotonic() > deadline:
            sim.blame("everything_is_settled_in_the_end", what)
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
