"""What an actor does in its life, of either kind. pykka's own suite is the yardstick."""

from __future__ import annotations

import logging
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

import pykka
import pytest

from actors.runtime import AsyncioActor, UnknownMessage
from tests.runtime.kinds import SECONDS, Kind


@dataclass
class Diary:
    """What an actor did, in order, and events to wait for."""

    entries: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def has_ended(self) -> bool:
        return self.ended.wait(SECONDS)


class Diarist(pykka.Actor):
    def __init__(self, diary: Diary) -> None:
        super().__init__()
        self.diary = diary

    def on_start(self) -> None:
        registered = pykka.ActorRegistry.get_by_urn(self.actor_urn) is self.actor_ref
        self.diary.entries.append("start, registered" if registered else "start")

    def on_stop(self) -> None:
        self.diary.entries.append("stop")
        self.diary.ended.set()

    def on_failure(self, *exc_info: Any) -> None:
        self.diary.entries.append(f"failure {exc_info[1]!r}")
        self.diary.ended.set()

    def on_receive(self, message: Any) -> Any:
        self.diary.entries.append(str(message))
        match message:
            case Exception():
                raise message
            case "stop twice":
                self.stop()
                self.stop()
            case "tell self, then stop":
                self.actor_ref.tell("told by self")
                self.stop()
            case threading.Event():
                assert message.wait(SECONDS)
            case "ping":
                return "pong"
            case int() | "told by self":
                pass
            case _:
                return super().on_receive(message)
        return None


class FailsAtStart(Diarist):
    def on_start(self) -> None:
        raise ValueError("at start")


class FailsAtStop(Diarist):
    def on_stop(self) -> None:
        super().on_stop()
        raise ValueError("at stop")


class FailsAtFailure(Diarist):
    def on_failure(self, *exc_info: Any) -> None:
        super().on_failure(*exc_info)
        raise ValueError("at failure")


class StopsAtStart(Diarist):
    def on_start(self) -> None:
        self.stop()


@pytest.fixture
def diary() -> Diary:
    return Diary()


def test_urn_is_a_unique_uuid4(kind: Kind, diary: Diary) -> None:
    refs = [kind.start(Diarist, diary) for _ in range(3)]
    assert {uuid.UUID(ref.actor_urn).version for ref in refs} == {4}
    assert len({ref.actor_urn for ref in refs}) == 3


def test_an_actor_that_was_not_started_names_its_class_and_urn(kind: Kind, diary: Diary) -> None:
    actor = kind.of(Diarist)(diary)
    assert str(actor) == f"Diarist ({actor.actor_urn})"


def test_init_takes_any_arguments(kind: Kind) -> None:
    kind.actor_class(1, 2, foo="bar")


def test_on_start_runs_registered_and_before_the_first_message(kind: Kind, diary: Diary) -> None:
    ref = kind.start(Diarist, diary)
    assert ref.ask("ping", timeout=SECONDS) == "pong"
    assert diary.entries == ["start, registered", "ping"]


def test_an_actor_may_stop_itself_in_on_start(kind: Kind, diary: Diary) -> None:
    ref = kind.start(StopsAtStart, diary)
    assert diary.has_ended()
    assert diary.entries == ["stop"]
    assert not ref.is_alive()


def test_a_failing_on_start_ends_the_actor_without_a_hook(kind: Kind, diary: Diary) -> None:
    ref = kind.start(FailsAtStart, diary)
    assert ref.actor_stopped.wait(SECONDS)
    assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is None
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("ping", timeout=SECONDS)
    assert diary.entries == []


def test_a_stop_runs_on_stop_alone(kind: Kind, diary: Diary) -> None:
    assert kind.start(Diarist, diary).stop(timeout=SECONDS)
    assert diary.entries == ["start, registered", "stop"]


def test_a_failing_on_stop_is_logged_and_the_actor_ends(
    kind: Kind, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    ref = kind.start(FailsAtStop, diary)
    assert ref.stop(timeout=SECONDS)
    assert not ref.is_alive()
    assert f"Unhandled exception in {ref}:" in caplog.messages


def test_an_error_that_nobody_asked_for_runs_on_failure_alone(
    kind: Kind, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    ref = kind.start(Diarist, diary)
    ref.tell(KeyError("told"))
    assert diary.has_ended()
    assert diary.entries == ["start, registered", "'told'", "failure KeyError('told')"]
    assert pykka.ActorRegistry.get_all() == []
    assert f"Unhandled exception in {ref}:" in caplog.messages


def test_a_failing_on_failure_is_logged_and_the_actor_ends(kind: Kind, diary: Diary) -> None:
    ref = kind.start(FailsAtFailure, diary)
    ref.tell(KeyError("told"))
    assert diary.has_ended()
    assert ref.actor_stopped.wait(SECONDS)


def test_an_error_in_an_ask_goes_to_the_asker_and_the_actor_lives(
    kind: Kind, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ref = kind.start(Diarist, diary)
    with pytest.raises(KeyError, match="asked"):
        ref.ask(KeyError("asked"), timeout=SECONDS)
    assert ref.ask("ping", timeout=SECONDS) == "pong"
    assert f"Exception returned from {ref} to caller:" in caplog.messages


def test_messages_are_handled_one_at_a_time_in_order(kind: Kind, diary: Diary) -> None:
    ref = kind.start(Diarist, diary)
    for number in range(100):
        ref.tell(number)
    ref.ask("ping", timeout=SECONDS)
    assert diary.entries[1:-1] == [str(number) for number in range(100)]


def test_an_unexpected_message_is_logged_or_refused(
    kind: Kind, diary: Diary, caplog: pytest.LogCaptureFixture
) -> None:
    """pykka's own actors log it and answer None; those on asyncio refuse it."""
    ref = kind.start(Diarist, diary)
    if kind.actor_class is AsyncioActor:
        with pytest.raises(UnknownMessage, match=r"Diarist does not know .* type str"):
            ref.ask("what?", timeout=SECONDS)
    else:
        assert ref.ask("what?", timeout=SECONDS) is None
        assert f"Unexpected message received by {ref}: what?" in caplog.messages
    assert ref.is_alive()


def test_an_actor_may_stop_itself_twice(kind: Kind, diary: Diary) -> None:
    kind.start(Diarist, diary).ask("stop twice", timeout=SECONDS)
    assert diary.has_ended()


def test_messages_before_a_stop_are_handled(kind: Kind, diary: Diary) -> None:
    kind.start(Diarist, diary).ask("tell self, then stop", timeout=SECONDS)
    assert diary.has_ended()
    assert diary.entries[-2:] == ["told by self", "stop"]


def test_questions_after_a_stop_are_answered_with_actor_dead_error(
    kind: Kind, diary: Diary
) -> None:
    gate = threading.Event()
    ref = kind.start(Diarist, diary)
    ref.tell(gate)
    ref.stop(block=False)
    reply = ref.ask("ping", block=False)
    ref.tell("dropped")
    gate.set()
    with pytest.raises(pykka.ActorDeadError, match="stopped before handling the message"):
        reply.get(timeout=SECONDS)


def test_a_second_stop_waiting_in_the_mailbox_is_answered(kind: Kind, diary: Diary) -> None:
    gate = threading.Event()
    ref = kind.start(Diarist, diary)
    ref.tell(gate)
    stops = [ref.stop(block=False) for _ in range(2)]
    gate.set()
    assert pykka.get_all(stops, timeout=SECONDS) == [True, True]
