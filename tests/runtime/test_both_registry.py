"""The registry of all living actors, with either kind."""

from __future__ import annotations

from typing import Any

import pykka
import pytest
from pykka import ActorRegistry

from tests.runtime.kinds import SECONDS, Kind


class Listener(pykka.Actor):
    stopped: list[str] = []

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.heard: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if message == "heard?":
            return self.heard
        self.heard.append(message)
        return None

    def on_stop(self) -> None:
        self.stopped.append(self.name)


class Relative(Listener):
    pass


LISTENER: type[Any] = Listener
RELATIVE: type[Any] = Relative


@pytest.fixture
def refs(kind: Kind) -> list[pykka.ActorRef[Any]]:
    Listener.stopped.clear()
    return [kind.start(Listener, "a"), kind.start(Listener, "b"), kind.start(Relative, "c")]


def test_an_actor_is_registered_from_start_to_stop(refs: list[pykka.ActorRef[Any]]) -> None:
    assert ActorRegistry.get_all() == refs
    refs[0].stop(timeout=SECONDS)
    assert ActorRegistry.get_all() == refs[1:]


def test_unregistering_twice_is_harmless(refs: list[pykka.ActorRef[Any]]) -> None:
    ActorRegistry.unregister(refs[0])
    ActorRegistry.unregister(refs[0])
    ActorRegistry.register(refs[0])
    assert refs[0] in ActorRegistry.get_all()


def test_stop_all_stops_the_last_one_first(refs: list[pykka.ActorRef[Any]]) -> None:
    assert ActorRegistry.stop_all(timeout=SECONDS) == [True, True, True]
    assert Listener.stopped == ["c", "b", "a"]
    assert ActorRegistry.get_all() == []


def test_actors_are_found_by_class_by_its_bases_and_by_name(
    refs: list[pykka.ActorRef[Any]],
) -> None:
    assert ActorRegistry.get_by_class(RELATIVE) == refs[2:]
    assert ActorRegistry.get_by_class(LISTENER) == refs
    assert ActorRegistry.get_by_class_name("Listener") == refs[:2]


def test_actors_are_found_by_urn(refs: list[pykka.ActorRef[Any]]) -> None:
    assert ActorRegistry.get_by_urn(refs[1].actor_urn) is refs[1]
    assert ActorRegistry.get_by_urn("urn:nobody") is None


def test_a_broadcast_reaches_all_or_a_class(refs: list[pykka.ActorRef[Any]]) -> None:
    ActorRegistry.broadcast("all")
    ActorRegistry.broadcast("relatives", target_class=RELATIVE)
    ActorRegistry.broadcast("listeners", target_class="Listener")
    assert [ref.ask("heard?", timeout=SECONDS) for ref in refs] == [
        ["all", "listeners"],
        ["all", "listeners"],
        ["all", "relatives"],
    ]
