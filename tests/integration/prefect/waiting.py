"""How tests wait for what real Prefect servers and workers do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

PATIENCE: Final = 60.0
"""Seconds until a wait for something that must happen counts as failed."""

PAUSE: Final = 0.1
"""Seconds between two questions to a server."""

T = TypeVar("T")


def until(
    ask: Callable[[], T], true: Callable[[T], object] = bool, *, patience: float = PATIENCE
) -> T:
    """Ask until the answer is as wanted; that answer. Fails with the last one after ``patience``.

    Servers tell nobody of what changes, so that asking again is how to wait for it.
    """
    end = time.monotonic() + patience
    while not true(answer := ask()):
        assert time.monotonic() < end, f"after {patience:g} s it is still {answer!r}"
        time.sleep(PAUSE)
    return answer
