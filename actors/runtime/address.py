"""Names for actors: looked up at each send, so that a restarted actor is found again."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from typing import Any, TypeVar

from pykka import ActorDeadError

from .query import Query
from .ref import AsyncioRef

R = TypeVar("R")

logger = logging.getLogger(__name__)


class Directory:
    """Which actor has which name, within one system. Used on that system's event loop only."""

    def __init__(self) -> None:
        self._refs: dict[str, AsyncioRef] = {}

    def register(self, name: str, ref: AsyncioRef) -> None:
        """Give ``ref`` a name until it ends. ValueError when a living actor has it."""
        holder = self.find(name)
        if holder is not None:
            raise ValueError(f"The name {name!r} is taken by {holder}.")
        self._refs[name] = ref
        ref.ended.subscribe(functools.partial(self._forget, name, ref))

    def _forget(self, name: str, ref: AsyncioRef) -> None:
        if self._refs.get(name) is ref:
            del self._refs[name]

    def find(self, name: str) -> AsyncioRef | None:
        """The living actor of that name."""
        ref = self._refs.get(name)
        return ref if ref is not None and ref.is_alive() else None

    def address(self, name: str) -> Address:
        """An address for ``name``, whether or not there is somebody yet."""
        return Address(self, name)

    def __iter__(self) -> Iterator[tuple[str, AsyncioRef]]:
        """Names and actors, those that are just stopping included, oldest name first."""
        return iter(tuple(self._refs.items()))


class Address:
    """A name to send to: the actor that has the name at the time receives the message."""

    __slots__ = ("_directory", "name")

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        self.name = name

    def __repr__(self) -> str:
        return f"<Address {self.name}>"

    def tell(self, message: Any) -> bool:
        """Tell the actor of this name. Returns False, and logs at DEBUG, when there is none."""
        ref = self._directory.find(self.name)
        if ref is not None and ref.tell_if_alive(message):
            return True
        logger.debug("Nobody at %r for a %s", self.name, type(message).__name__)
        return False

    async def request(
        self,
        query: Query[R],
        *,
        timeout: float | None,  # noqa: ASYNC109  part of the question, as in pykka's ask()
    ) -> R:
        """See AsyncioRef.request. ActorDeadError when nobody is there."""
        ref = self._directory.find(self.name)
        if ref is None:
            raise ActorDeadError(f"There is no actor called {self.name!r}")
        return await ref.request(query, timeout=timeout)
