"""The dump of actors and mailboxes."""

from __future__ import annotations

import asyncio

from actors.runtime import ActorState, Directory, dump
from tests.runtime.scribe import Do, Scribe, forever, turns
from tests.support.virtual import virtual


async def hang() -> None:
    await asyncio.sleep(1000)


@virtual
async def test_a_dump_tells_what_each_named_actor_is_doing() -> None:
    directory = Directory()
    hooks: dict[str, dict[str, Do]] = {"starting": {"start": hang}, "stopping": {"stop": hang}}
    for name in ("starting", "idle", "busy", "waiting", "stopping"):
        directory.register(name, Scribe.start([], **hooks.get(name, {})))
    refs = dict(directory)
    await asyncio.sleep(60)
    refs["stopping"].stop(block=False)
    refs["waiting"].tell(hang)
    refs["waiting"].tell(forever)
    await asyncio.sleep(2)
    refs["busy"].tell(lambda: None)

    reports = {report.name: report for report in dump(directory)}

    assert list(reports) == ["starting", "idle", "busy", "waiting", "stopping"]
    assert {name: report.state for name, report in reports.items()} == {
        state.value: state for state in ActorState
    }
    waiting = reports["waiting"]
    assert (waiting.actor_class, waiting.mailbox, waiting.age_seconds) == ("Scribe", 1, 62.0)
    assert (waiting.handling, waiting.handling_seconds) == ("function", 2.0)
    for ref in refs.values():
        ref.kill()
        await ref.joined()


@virtual
async def test_an_actor_that_has_ended_is_not_in_the_dump() -> None:
    directory = Directory()
    ref = Scribe.start([])
    directory.register("scribe", ref)
    await turns()
    await ref.stop(block=False)
    assert dump(directory) == []
