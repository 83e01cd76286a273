"""Which faults meet which requests: drawn from chance that a seed repeats."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from tests.support.fault_proxy import FaultProxy
from tests.support.faults import Fault, Request, Weather, fair

EVERYTHING: Final = tuple(Fault)
OVERLOAD: Final = (Fault.BUSY, Fault.ERROR_503, Fault.DRIP, Fault.SILENT)
KEYS: Final = (Fault.UNAUTHORIZED, Fault.FORBIDDEN)
LIES: Final = (Fault.LOST, Fault.HALF, Fault.GARBAGE, Fault.PAGE, Fault.WRONG_TYPE)


@dataclass(frozen=True)
class Day:
    """What one worker's life has to bear."""

    weather: Weather
    around: Callable[[FaultProxy], AbstractContextManager[Any]] = nullcontext


def storm(
    chance: random.Random, *, share: float, faults: Collection[Fault] = EVERYTHING
) -> Weather:
    """One of ``faults`` for about this share of the requests."""
    kinds = tuple(faults)

    def weather(_: Request) -> Fault | None:
        return chance.choice(kinds) if chance.random() < share else None

    return weather


def forecast(chance: random.Random) -> Day:
    """Fair, or a storm of some sort, or an outage. Each storm has a chance of its own."""
    own = random.Random(chance.random())
    days = [
        (1, Day(fair)),
        (4, Day(storm(own, share=0.35))),
        (2, Day(storm(own, share=0.6, faults=LIES))),
        (1, Day(storm(own, share=0.7, faults=OVERLOAD))),
        (1, Day(storm(own, share=1.0, faults=KEYS))),
        (1, Day(fair, FaultProxy.outage)),
    ]
    return chance.choices([day for _, day in days], [weight for weight, _ in days])[0]
