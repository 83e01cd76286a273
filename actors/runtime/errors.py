"""Ends of actors, answers and waits that have no exception of their own in pykka or asyncio."""

from __future__ import annotations

from pykka import ActorDeadError


class ActorKilled(ActorDeadError):
    """The actor's task was cancelled: by ``kill()``, or because its event loop is closing.

    It is the actor's failure, and the answer to the question it was handling.
    """


class UnknownMessage(TypeError):
    """An actor got a message that it does not know. The answer to a question, else its failure."""


class WaitCancelled(Exception):
    """Something that an actor awaited was cancelled; the actor itself was not.

    It stands in for ``asyncio.CancelledError``, which would cancel an actor that receives it.
    """
