"""Questions that carry the type of their answer, and messages that the runtime itself acts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

R = TypeVar("R")


class Query(Generic[R]):
    """A question whose answer is an ``R``.

    Subclass it with a frozen dataclass: ``class FreeSlots(Query[int])``. To the type checker
    ``await ref.request(FreeSlots(), timeout=1.0)`` is then an ``int``.
    """

    __slots__ = ()


class Order:
    """A message that acts on the actor by itself; ``on_receive`` never sees it."""

    __slots__ = ()

    def carry_out(self, actor: Any) -> Any:
        """Act on ``actor``, in its turn. A coroutine is awaited; the result answers an ask.

        The actor is of the class that the order was made for.
        """
        raise NotImplementedError


class Ping(Order, Query[None]):
    """Question to any asyncio actor: answered when ``on_start`` is through."""

    __slots__ = ()

    def carry_out(self, actor: Any) -> None:
        """Nothing to do: the answer shows that the actor is up."""


@dataclass(frozen=True, slots=True)
class Fail(Order):
    """End the actor as if a handler had raised ``error``."""

    error: BaseException

    def carry_out(self, actor: Any) -> None:
        """Raise the error."""
        raise self.error
