"""Ways to plant a bug that survive a redesign of the worker.

A bug sits at a border: a message on its way to an actor, or a port. Or it takes the place of a
decision, which is a public function, or of a public name. No private name is ever replaced.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from types import FunctionType
from typing import Any

from actors.runtime import AsyncioActor

Place = Callable[[], AbstractContextManager[None]]
"""Where a bug is: while in the context it is there."""

Change = Callable[[Any], Any]
"""From what is there to what takes its place."""

Delivery = Callable[[Any, Any], Iterable[Any]]
"""From an actor and a message on its way there to the messages that arrive."""


class Planted:
    """A bug, in one or more places."""

    def __init__(self, bug: str, *places: Place) -> None:
        self.bug = bug
        self._places = places

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While in the context the bug is there."""
        with ExitStack() as stack:
            for place in self._places:
                stack.enter_context(place())
            yield


def public_name(owner: Any, name: str, change: Change) -> Place:
    """What ``name`` stands for in a module or class: a port's operation, say, or a constant."""
    assert not name.startswith("_"), name

    @contextlib.contextmanager
    def place() -> Iterator[None]:
        is_inherited = name not in vars(owner)
        before = getattr(owner, name)
        setattr(owner, name, change(before))
        try:
            yield
        finally:
            if is_inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

    return place


def decision(function: Any, change: Change) -> Place:
    """A public function, wherever it was imported to."""
    assert isinstance(function, FunctionType), function

    @contextlib.contextmanager
    def place() -> Iterator[None]:
        name, holders = function.__name__, tuple(_holders(function))
        with ExitStack() as stack:
            for holder in holders:
                stack.enter_context(public_name(holder, name, change)())
            yield

    return place


def _holders(function: FunctionType) -> Iterator[Any]:
    for name, module in tuple(sys.modules.items()):
        is_ours = name.partition(".")[0] == "actors"
        if is_ours and vars(module).get(function.__name__) is function:
            yield module


def message(actor: type[AsyncioActor], kind: type[Any], deliver: Delivery) -> Place:
    """Messages of a kind on their way to actors of a class: ``deliver`` says what arrives."""

    def change(receive: Any) -> Any:
        def on_receive(self: Any, message: Any) -> Any:
            answer = None
            arriving = deliver(self, message) if isinstance(message, kind) else (message,)
            for arrived in arriving:
                answer = receive(self, arrived)
            return answer

        return on_receive

    return public_name(actor, "on_receive", change)


def lost(actor: Any, message: Any) -> tuple[Any, ...]:
    """A message that does not arrive; a question is answered with None."""
    return ()


def changed(change: Change) -> Delivery:
    """A message that arrives as another one."""
    return lambda actor, message: (change(message),)
