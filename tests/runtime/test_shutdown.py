"""Stopping supervised actors, in bounded time."""

from __future__ import annotations

import asyncio

from pykka import ActorRegistry

from actors.runtime import (
    ActorKilled,
    Ping,
    shut_down,
)
from tests.runtime.children import Children, now
from tests.runtime.scribe import Scribe, forever
from tests.support.virtual import virtual


@virtual
async def test_a_child_that_does_not_stop_in_time_is_killed() -> None:
    children = Children()
    ref = children.supervise(children.child("a"), children.child("b"))
    await ref.request(Ping(), timeout=None)
    children.ref("a").tell(forever)
    await ref.stop(block=False)
    assert children.events[2:] == [(0, "b stop"), (5, "a failure ActorKilled")]


@virtual
async def test_a_child_that_hangs_in_on_failure_too_is_cut_short() -> None:
    children = Children()
    ref = children.supervise(children.child("a", failure=forever))
    await ref.request(Ping(), timeout=None)
    children.ref("a").tell(forever)
    await ref.stop(block=False)
    assert now() == 10
    assert ActorRegistry.get_all() == []


@virtual
async def test_a_supervisor_that_is_killed_twice_kills_its_children() -> None:
    children = Children()
    hanging = children.child("a", stop=forever)
    ref = children.supervise(hanging)
    await ref.request(Ping(), timeout=None)
    child = children.ref("a")
    ref.kill()
    await asyncio.sleep(1)
    assert not ref.has_ended
    ref.kill()
    await ref.joined()
    await child.joined()
    assert isinstance(child.failure, ActorKilled)


@virtual
async def test_shut_down_of_an_actor_that_has_ended_returns() -> None:
    ref = Scribe.start([])
    await shut_down(ref, 1.0)
    await shut_down(ref, 1.0)
    assert now() == 0
