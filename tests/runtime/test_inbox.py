"""The mailbox: thread-safe, closable without losing anything, and quiet where it can be."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVarTuple, Unpack

import pytest
from pykka import ActorDeadError

from actors.runtime import AsyncioFuture, Inbox
from actors.runtime.pykka_internals import Envelope
from tests.runtime.kinds import SECONDS, stranded
from tests.support.virtual import virtual

Ts = TypeVarTuple("Ts")


def ask(message: Any) -> tuple[Envelope[Any], AsyncioFuture[Any]]:
    reply: AsyncioFuture[Any] = AsyncioFuture()
    return Envelope(message, reply_to=reply), reply


def test_first_in_first_out() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.put(Envelope(number))
    assert inbox.qsize() == 3
    assert [inbox.get().message for _ in range(3)] == [0, 1, 2]
    assert inbox.empty()


@virtual
async def test_wait_returns_at_once_when_there_is_something() -> None:
    inbox = Inbox()
    inbox.put(Envelope("there"))
    await inbox.wait()


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts how often it was told to wake up for the sake of another thread."""

    wake_ups = 0

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        self.wake_ups += 1
        return super().call_soon_threadsafe(callback, *args, context=context)


def put_ten(inbox: Inbox) -> None:
    for number in range(10):
        inbox.put(Envelope(number))


@pytest.mark.parametrize(("from_a_thread", "wake_ups"), [(True, 1), (False, 0)])
def test_only_other_threads_wake_the_loop_and_only_while_the_actor_sleeps(
    from_a_thread: bool, wake_ups: int
) -> None:
    inbox = Inbox()

    async def main(loop: CountingLoop) -> None:
        wait = asyncio.ensure_future(inbox.wait())
        await asyncio.sleep(0)
        before = loop.wake_ups
        if from_a_thread:
            thread = threading.Thread(target=put_ten, args=(inbox,))
            thread.start()
            thread.join(SECONDS)
        else:
            put_ten(inbox)
        await wait
        assert loop.wake_ups == before + wake_ups
        assert inbox.qsize() == 10

    loop = CountingLoop()
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()


def test_closing_answers_what_is_left() -> None:
    inbox = Inbox()
    question, reply = ask("question")
    for envelope in (Envelope("told"), question):
        inbox.put(envelope)
    inbox.close("It is over")
    with pytest.raises(ActorDeadError, match="It is over"):
        reply.get(timeout=0)
    assert inbox.empty()


def test_a_put_after_closing_is_never_silent() -> None:
    inbox = Inbox()
    inbox.close("It is over")
    question, reply = ask("question")
    inbox.put(question)
    with pytest.raises(ActorDeadError, match="It is over"):
        reply.get(timeout=0)
    with pytest.raises(ActorDeadError, match="It is over"):
        inbox.put(Envelope("told"))


def test_a_put_and_the_last_look_hold_the_same_lock() -> None:
    """A race that no number of threads shows reliably: a put between last look and closing.

    Only the private lock and queue tell whether one is held whenever the other changes.
    """
    inbox = Inbox()
    held: list[tuple[str, bool]] = []

    class Watched(deque[Envelope[Any]]):
        def append(self, envelope: Envelope[Any], /) -> None:
            held.append(("append", inbox._lock.locked()))  # noqa: SLF001
            super().append(envelope)

        def clear(self) -> None:
            held.append(("clear", inbox._lock.locked()))  # noqa: SLF001
            super().clear()

    inbox._envelopes = Watched()  # noqa: SLF001
    inbox.put(Envelope("told"))
    inbox.close("It is over")
    assert held == [("append", True), ("clear", True)]


def test_no_question_is_lost_to_a_close_in_the_midst_of_puts() -> None:
    inbox = Inbox()
    replies: list[AsyncioFuture[Any]] = []
    under_way = threading.Event()

    def put_many() -> None:
        for number in range(2000):
            envelope, reply = ask(number)
            inbox.put(envelope)
            replies.append(reply)
            if number == 100:
                under_way.set()

    threads = [threading.Thread(target=put_many) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert under_way.wait(SECONDS)
    inbox.close("It is over")
    for thread in threads:
        thread.join(SECONDS)
    assert len(replies) == 4000
    assert all(reply.done() for reply in replies)


def test_a_put_to_a_sleeper_whose_loop_is_closed_is_never_silent() -> None:
    inbox = Inbox()
    question, reply = ask("question")
    with stranded(inbox.wait()):
        inbox.put(question)
        with pytest.raises(ActorDeadError, match="loop of this actor is closed"):
            reply.get(timeout=0)
        with pytest.raises(ActorDeadError):
            inbox.put(Envelope("told"))
