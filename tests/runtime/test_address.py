"""Names that are looked up at each send."""

from __future__ import annotations

import logging

import pytest
from pykka import ActorDeadError

from actors.runtime import Directory, Ping
from tests.runtime.scribe import Scribe, turns
from tests.support.virtual import virtual


@virtual
async def test_an_address_finds_whoever_has_the_name_now() -> None:
    directory, diaries = Directory(), ([""], [""])
    address = directory.address("scribe")
    for diary in diaries:
        ref = Scribe.start(diary)
        directory.register("scribe", ref)
        assert address.tell(lambda diary=diary: diary.append("told"))
        await address.request(Ping(), timeout=1)
        await ref.stop(block=False)
    assert diaries[0] == diaries[1] == ["", "start", "told", "stop"]


@virtual
async def test_telling_nobody_is_false_and_a_line_in_the_debug_log() -> None:
    assert Directory().address("nobody").tell("hello") is False


def test_the_line_in_the_debug_log_names_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="actors.runtime.address")
    Directory().address("nobody").tell("hello")
    assert caplog.messages == ["Nobody at 'nobody' for a str"]


@virtual
async def test_asking_nobody_raises() -> None:
    with pytest.raises(ActorDeadError, match="no actor called 'nobody'"):
        await Directory().address("nobody").request(Ping(), timeout=1)


@virtual
async def test_an_actor_that_is_stopping_cannot_be_reached() -> None:
    directory = Directory()
    ref = Scribe.start([])
    directory.register("scribe", ref)
    stopped = ref.stop(block=False)
    await turns()
    assert directory.find("scribe") is None
    assert not directory.address("scribe").tell("hello")
    await stopped


@virtual
async def test_a_name_belongs_to_one_living_actor() -> None:
    directory = Directory()
    refs = [Scribe.start([]) for _ in range(2)]
    directory.register("scribe", refs[0])
    with pytest.raises(ValueError, match="'scribe' is taken by"):
        directory.register("scribe", refs[1])
    for ref in refs:
        await ref.stop(block=False)


@virtual
async def test_names_are_forgotten_when_their_actors_end_and_not_those_of_successors() -> None:
    directory = Directory()
    first, second = Scribe.start([]), Scribe.start([])
    directory.register("scribe", first)
    first.stop(block=False)
    while first.is_alive():
        await turns(1)
    directory.register("scribe", second)  # before the first one has ended
    await first.joined()
    assert list(directory) == [("scribe", second)]
    await second.stop(block=False)
    assert list(directory) == []
