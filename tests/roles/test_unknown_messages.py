"""No actor drops what it does not know: an asker gets an error, an order ends the actor."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass

import pytest
from pykka import ActorRegistry

import actors
from actors.domain.model import StateType
from actors.runtime import AsyncioActor, AsyncioRef, Query, UnknownMessage
from actors.testing.event_stream import InMemoryEventStream
from tests.support.recording_notifier import RecordingNotifier
from tests.support.worker_world import POOL, WorkerWorld, play


@dataclass(frozen=True, slots=True)
class Unknown(Query[None]):
    """A message that no actor knows."""


def kinds_of_actors() -> set[type[AsyncioActor]]:
    """Every kind that is started as it is: those that no other one is derived from."""
    for module in pkgutil.walk_packages(actors.__path__, "actors."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[type[AsyncioActor]] = set()
    pending: list[type[AsyncioActor]] = [AsyncioActor]
    while pending:
        derived = pending.pop().__subclasses__()
        ours = [kind for kind in derived if kind.__module__.startswith("actors.")]
        pending += ours
        found.update(kind for kind in ours if not kind.__subclasses__())
    return found


async def everybody(world: WorkerWorld) -> dict[type[AsyncioActor], AsyncioRef]:
    """One living actor of each kind: a worker with all its services, and a run."""
    world.notifier = RecordingNotifier()
    world.stream = InMemoryEventStream(world.server)
    await world.start_running()
    refs = [ref for ref in ActorRegistry.get_all() if isinstance(ref, AsyncioRef)]
    return {ref.actor_class: ref for ref in refs}


def test_every_actor_refuses_a_question_that_it_does_not_know() -> None:
    async def story(world: WorkerWorld) -> None:
        living = await everybody(world)
        assert living.keys() == kinds_of_actors()
        for kind, ref in living.items():
            [answer] = await asyncio.gather(
                ref.request(Unknown(), timeout=60.0), return_exceptions=True
            )
            assert isinstance(answer, (UnknownMessage, AssertionError)), kind
            assert "Unknown" in str(answer), kind
            assert ref.is_alive()

    play(story)


def test_every_actor_shows_a_frozen_view_of_its_own() -> None:
    async def story(world: WorkerWorld) -> None:
        living = await everybody(world)
        assert living.keys() == kinds_of_actors()
        for kind, ref in living.items():
            view = ref.inspect()
            assert type(view).__module__.startswith("actors."), kind
            assert is_dataclass(view), kind
            [first, *_] = fields(view)
            with pytest.raises(FrozenInstanceError):
                setattr(view, first.name, None)

    play(story)


def test_an_order_that_it_does_not_know_ends_an_actor_and_it_is_started_again() -> None:
    async def story(world: WorkerWorld) -> None:
        await world.start()
        poller = world.actor("poller")
        poller.tell(Unknown())
        await poller.joined()
        assert "Unknown" in str(poller.failure)
        await world.until_state(world.server.schedule(POOL), StateType.COMPLETED)

    play(story)
