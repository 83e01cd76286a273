"""Which faults meet which requests: drawn from chance that a seed repeats."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Final

from tests.support.faults import Fault, Request, Weather

EVERYTHING: Final = tuple(Fault)


def storm(
    chance: random.Random, *, share: float, faults: Collection[Fault] = EVERYTHING
) -> Weather:
    """One of ``faults`` for about this share of the requests."""
    kinds = tuple(faults)

    def weather(_: Request) -> Fault | None:
        return chance.choice(kinds) if chance.random() < share else None

    return weather
