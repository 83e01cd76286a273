"""What the actors of a system are doing, for a log or a person."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from .address import Directory
from .pykka_internals import actor_behind
from .ref import AsyncioRef


class ActorState(StrEnum):
    """Where in its life an actor is."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    """It has messages to handle."""
    WAITING = "waiting"
    """An ``async`` handler awaits something; the mailbox has to wait too."""
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorReport:
    """One actor. Messages are named by their class only: what is in them may be secret."""

    name: str
    actor_class: str
    state: ActorState
    mailbox: int
    """Messages not handled yet."""
    age_seconds: float
    handling: str | None = None
    """The message that it awaits something for, and ..."""
    handling_seconds: float = 0.0
    """... for how long by now."""
    waits: int = 0
    """What it awaits beside the mailbox, and ..."""
    timers: int = 0
    """... messages that it will send itself."""
    view: object = None
    """What its ``inspect()`` shows."""


def dump(directory: Directory) -> list[ActorReport]:
    """Every named actor, oldest name first. On the actors' event loop."""
    return [report for name, ref in directory if (report := _report(name, ref)) is not None]


def _report(name: str, ref: AsyncioRef) -> ActorReport | None:
    actor = actor_behind(ref)
    if actor is None or ref.has_ended:
        return None
    life, now = actor._actor_life, asyncio.get_running_loop().time()
    message, since = life.handling or (None, now)
    if not ref.is_alive():
        state = ActorState.STOPPING
    elif not life.is_up:
        state = ActorState.STARTING
    elif message is not None:
        state = ActorState.WAITING
    else:
        state = ActorState.IDLE if ref.actor_inbox.empty() else ActorState.BUSY
    try:
        view = actor.inspect()
    except Exception as error:  # a dump is for finding bugs: one more of them must not prevent it
        view = f"inspect() failed: {error!r}"
    return ActorReport(
        name=name,
        actor_class=ref.actor_class.__name__,
        state=state,
        mailbox=ref.actor_inbox.qsize(),
        age_seconds=now - life.began_at,
        handling=None if message is None else type(message).__name__,
        handling_seconds=now - since,
        waits=len(life.waits),
        timers=len(life.timers),
        view=view,
    )
