"""Faults of a network, for fakes of what is on its other side."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

Faults = Callable[[str, Literal["before", "after"]], Awaitable[None]]
"""Called with an operation's name before and after its effect.

It may wait, as a slow network does, or raise what the port raises: the request is lost, or its
response.
"""


class Faulty(Protocol):
    """A fake whose operations may fail; ``faults`` None: they do not."""

    faults: Faults | None


F = TypeVar("F", bound=Faulty)
P = ParamSpec("P")
R = TypeVar("R")


def operation(
    effect: Callable[Concatenate[F, P], R],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, R]]:
    """Make the effect of an operation the coroutine of the port, with the faults around it."""

    @functools.wraps(effect)
    async def answer(self: F, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.faults is not None:
            await self.faults(effect.__name__, "before")
        result = effect(self, *args, **kwargs)
        if self.faults is not None:
            await self.faults(effect.__name__, "after")
        return result

    return answer
