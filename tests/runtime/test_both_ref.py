"""Telling, asking and stopping through a reference, with either kind of actor."""

from __future__ import annotations

import threading
from typing import Any

import pykka
import pytest

from tests.runtime.kinds import SECONDS, Kind


class Echo(pykka.Actor):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, threading.Event):
            assert message.wait(SECONDS)
        if message == "heard?":
            return self.heard
        self.heard.append(message)
        return message


@pytest.fixture
def ref(kind: Kind) -> pykka.ActorRef[Any]:
    return kind.start(Echo)


def test_a_ref_names_the_class_and_the_urn(ref: pykka.ActorRef[Any]) -> None:
    assert str(ref) == f"Echo ({ref.actor_urn})"
    assert repr(ref) == f"<ActorRef for {ref}>"


def test_is_alive_until_stopped(ref: pykka.ActorRef[Any]) -> None:
    assert ref.is_alive()
    assert ref.stop(timeout=SECONDS) is True
    assert not ref.is_alive()


def test_stop_of_a_dead_actor_says_false(ref: pykka.ActorRef[Any]) -> None:
    ref.stop(timeout=SECONDS)
    assert ref.stop(timeout=SECONDS) is False


@pytest.mark.parametrize("message", [1, 1.5, {"a": 1}, ("a",), ["a"], ValueError("a"), None])
def test_any_object_is_a_message(ref: pykka.ActorRef[Any], message: Any) -> None:
    ref.tell(message)
    assert ref.ask("heard?", timeout=SECONDS) == [message]
    assert ref.ask(message, timeout=SECONDS) is message


def test_tell_to_a_dead_actor_raises(ref: pykka.ActorRef[Any]) -> None:
    ref.stop(timeout=SECONDS)
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.tell("too late")


def test_ask_times_out(ref: pykka.ActorRef[Any]) -> None:
    gate = threading.Event()
    ref.tell(gate)
    with pytest.raises(pykka.Timeout):
        ref.ask("in vain", timeout=0)
    gate.set()


def test_ask_without_blocking_gives_a_future(kind: Kind, ref: pykka.ActorRef[Any]) -> None:
    future = ref.ask("hello", block=False)
    assert isinstance(future, kind.future_class)
    assert future.get(timeout=SECONDS) == "hello"


def test_ask_of_a_dead_actor_raises(ref: pykka.ActorRef[Any]) -> None:
    ref.stop(timeout=SECONDS)
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        ref.ask("hello")


def test_ask_of_a_dead_actor_without_blocking_fails_the_future(ref: pykka.ActorRef[Any]) -> None:
    ref.stop(timeout=SECONDS)
    future = ref.ask("hello", block=False)
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        future.get(timeout=SECONDS)
