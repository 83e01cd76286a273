"""A supervisor with children that are watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from actors.runtime import (
    AsyncioRef,
    ChildSpec,
    Directory,
    RestartBudget,
    Supervisor,
)
from tests.runtime.scribe import Do, Scribe, raising, turns

BUDGET = RestartBudget(intensity=3, period_seconds=60.0)


def now() -> float:
    return round(asyncio.get_running_loop().time(), 6)


class Children:
    """A supervisor's children, what they did and when, and their directory."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str]] = []
        self.directory = Directory()

    def child(self, name: str, **hooks: Do) -> ChildSpec:
        children = self

        class Child(Scribe):
            async def _do(self, hook: str) -> None:
                await super()._do(hook)
                children.events.append((now(), f"{name} {hook}"))

        return ChildSpec(name=name, start=lambda: Child.start([], **hooks))

    def supervise(self, *children: ChildSpec, **options: Any) -> AsyncioRef:
        options = {"budget": BUDGET, "directory": self.directory, **options}
        return Supervisor.start(children, **options)

    def ref(self, name: str) -> AsyncioRef:
        ref = self.directory.find(name)
        assert ref is not None
        return ref

    async def break_(self, name: str) -> None:
        """Let a child fail; return when the supervisor had the time to act on it."""
        ref = self.ref(name)
        ref.tell(raising(ValueError(f"{name} is broken")))
        await ref.joined()
        await turns(10)

    @property
    def what(self) -> list[str]:
        return [event for _, event in self.events]


def slowly(seconds: float) -> Callable[[], Coroutine[Any, Any, None]]:
    return lambda: asyncio.sleep(seconds)
