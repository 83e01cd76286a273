"""Proxies: an actor's attributes and methods at a distance, with either kind."""

from __future__ import annotations

import threading
from typing import Any

import pykka
import pytest

from tests.runtime.kinds import SECONDS, Kind


class Wheel:
    def __init__(self) -> None:
        self.turns = 0

    def turn(self) -> int:
        self.turns += 1
        return self.turns


class Car(pykka.Actor):
    colour = "red"

    def __init__(self) -> None:
        super().__init__()
        self.wheel = pykka.traversable(Wheel())
        self.spare = Wheel()
        self.failed = threading.Event()
        self._speed = 0

    @property
    def speed(self) -> int:
        return self._speed

    @speed.setter
    def speed(self, value: int) -> None:
        if value < 0:
            raise ValueError("backwards")
        self._speed = value

    @property
    def plate(self) -> str:
        return "AB 1"

    def paint(self, colour: str, *, coats: int = 1) -> str:
        self.colour = colour
        return f"{coats} x {colour}"

    def crash(self) -> None:
        raise RuntimeError("crash")

    def paint_later(self) -> pykka.Future[str]:
        future: pykka.Future[str] = self.actor_ref.proxy().paint("blue")
        return future

    def on_failure(self, *exc_info: Any) -> None:
        self.failed.set()


@pytest.fixture
def car(kind: Kind) -> Any:
    return kind.start(Car).proxy()


def test_attributes_are_read_and_set(car: Any) -> None:
    assert car.colour.get(timeout=SECONDS) == "red"
    car.colour = "green"
    assert car.colour.get(timeout=SECONDS) == "green"


def test_properties_are_read_and_set(car: Any) -> None:
    car.speed = 3
    assert car.speed.get(timeout=SECONDS) == 3
    assert car.plate.get(timeout=SECONDS) == "AB 1"


def test_setting_raises_what_the_setter_raises(car: Any) -> None:
    with pytest.raises(ValueError, match="backwards"):
        car.speed = -1
    with pytest.raises(AttributeError):
        car.plate = "CD 2"


@pytest.mark.parametrize("name", ["missing", "_speed"])
def test_missing_and_private_attributes_are_not_there(car: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(car, name)


def test_methods_are_called_with_all_arguments(car: Any) -> None:
    assert car.paint("white", coats=2).get(timeout=SECONDS) == "2 x white"
    assert car.colour.get(timeout=SECONDS) == "white"


def test_an_error_in_a_method_is_raised_by_the_future(car: Any) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        car.crash().get(timeout=SECONDS)
    assert car.actor_ref.is_alive()


def test_a_deferred_call_answers_nothing(car: Any) -> None:
    assert car.paint.defer("black") is None
    assert car.colour.get(timeout=SECONDS) == "black"


def test_an_error_in_a_deferred_call_ends_the_actor(car: Any) -> None:
    failed = car.failed.get(timeout=SECONDS)
    car.crash.defer()
    assert failed.wait(SECONDS)
    assert car.actor_ref.actor_stopped.wait(SECONDS)


def test_a_traversable_attribute_is_traversed_and_another_is_a_value(car: Any) -> None:
    assert car.wheel.turn().get(timeout=SECONDS) == 1
    assert car.wheel.turns.get(timeout=SECONDS) == 1
    assert isinstance(car.spare.get(timeout=SECONDS), Wheel)


def test_an_actor_calls_itself_later_and_hands_the_future_on_as_a_value(car: Any) -> None:
    inner = car.paint_later().get(timeout=SECONDS)
    assert isinstance(inner, pykka.Future)
    assert inner.get(timeout=SECONDS) == "1 x blue"


def test_proxies_are_equal_by_actor_and_path(car: Any) -> None:
    assert car == car.actor_ref.proxy()
    assert hash(car) == hash(car.actor_ref.proxy())
    assert car != car.wheel
    assert "paint" in dir(car)


def test_there_is_no_proxy_for_a_dead_actor(car: Any) -> None:
    car.actor_ref.stop(timeout=SECONDS)
    with pytest.raises(pykka.ActorDeadError, match="not found"):
        car.actor_ref.proxy()


def test_an_actor_can_be_stopped_by_proxy(car: Any) -> None:
    car.stop()
    assert car.actor_ref.actor_stopped.wait(SECONDS)
