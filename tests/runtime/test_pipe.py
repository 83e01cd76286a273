"""Waits that an actor starts and gets back as messages: pipe and watch."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.runtime import AsyncioActor, AsyncioRef, WaitCancelled
from tests.runtime.scribe import Fine, Scribe, ask, forever, raising, turns
from tests.support.virtual import virtual


class Piper(AsyncioActor):
    """Pipes what it is told to, and keeps what it hears of it.

    ``ended`` gets a word for each wait that is over when the actor stops.
    """

    def __init__(self, ended: list[str] | None = None) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.waits: list[asyncio.Task[Any]] = []
        self.ended = [] if ended is None else ended

    def on_receive(self, message: Any) -> list[Any] | None:
        match message:
            case ("pipe", awaitable):
                self.waits.append(self.pipe(awaitable, lambda value: ("result", value)))
            case ("pipe, errors too", awaitable):
                self.pipe(awaitable, lambda value: ("result", value), lambda e: ("error", e))
            case ("pipe and call off", awaitable):
                self.pipe(awaitable, lambda value: value, lambda error: error).cancel()
            case ("pipe to a bug", awaitable):
                self.pipe(awaitable, lambda value: 1 / 0)
            case ("watch", ref):
                self.watch(ref, lambda failure: ("ended", failure))
            case "heard?":
                return list(self.heard)
            case _:
                self.heard.append(message)
        return None

    def on_stop(self) -> None:
        self.ended.extend("known to be over" for wait in self.waits if wait.done())


async def after_a_second(value: Any = None) -> Any:
    await asyncio.sleep(1)
    if isinstance(value, BaseException):
        raise value
    return value


async def heard(ref: AsyncioRef) -> Any:
    return await ref.ask("heard?", block=False)


@virtual
async def test_a_result_comes_back_as_a_message_and_the_mailbox_is_free_meanwhile() -> None:
    ref = Piper.start()
    ref.tell(("pipe", after_a_second("value")))
    ref.tell("meanwhile")
    await asyncio.sleep(2)
    assert await heard(ref) == ["meanwhile", ("result", "value")]
    await ref.stop(block=False)


@virtual
async def test_pykka_futures_and_asyncio_futures_can_be_piped() -> None:
    ref, other = Piper.start(), Scribe.start([])
    ref.tell(("pipe", other.ask(lambda: "answer", block=False)))
    ref.tell(("pipe", asyncio.ensure_future(after_a_second("value"))))
    await asyncio.sleep(2)
    assert await heard(ref) == [("result", "answer"), ("result", "value")]
    await asyncio.gather(ref.stop(block=False), other.stop(block=False))


@virtual
async def test_an_error_comes_back_as_a_message() -> None:
    error = ValueError("piped")
    ref = Piper.start()
    ref.tell(("pipe, errors too", after_a_second(error)))
    await asyncio.sleep(2)
    assert await heard(ref) == [("error", error)]
    await ref.stop(block=False)


@virtual
async def test_without_on_error_an_error_is_the_actors_failure() -> None:
    error = ValueError("piped")
    ref = Piper.start()
    ref.tell(("pipe", after_a_second(error)))
    await ref.joined()
    assert ref.failure is error


@virtual
async def test_what_is_not_an_exception_is_never_told_as_an_error() -> None:
    ref = Piper.start()
    ref.tell(("pipe, errors too", after_a_second(Fine())))
    await ref.joined()
    assert isinstance(ref.failure, Fine)


@virtual
async def test_a_bug_in_on_result_is_the_actors_failure() -> None:
    ref = Piper.start()
    ref.tell(("pipe to a bug", after_a_second()))
    await ref.joined()
    assert isinstance(ref.failure, ZeroDivisionError)


@virtual
async def test_a_wait_that_something_else_cancelled_is_an_error() -> None:
    ref = Piper.start()
    inner = asyncio.ensure_future(forever())
    ref.tell(("pipe, errors too", inner))
    await turns()
    inner.cancel()
    await turns()
    [(what, error)] = await heard(ref)
    assert what == "error"
    assert isinstance(error, WaitCancelled)
    await ref.stop(block=False)


@virtual
async def test_a_wait_that_was_called_off_is_silent() -> None:
    ref = Piper.start()
    ref.tell(("pipe and call off", forever()))
    await turns()
    assert await heard(ref) == []
    await ref.stop(block=False)


@virtual
async def test_waits_are_over_before_on_stop_and_nothing_is_left_when_joined() -> None:
    ended: list[str] = []

    async def slow_to_cancel() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(1)
            ended.append("over")

    ref = Piper.start(ended)
    ref.tell(("pipe", slow_to_cancel()))
    await turns()
    await ref.stop(block=False)
    assert ended == ["over", "known to be over"]


@virtual
async def test_a_wait_begun_in_on_stop_is_not_left_either() -> None:
    class Late(AsyncioActor):
        def on_stop(self) -> None:
            waits.append(self.pipe(forever(), lambda _: None))

    waits: list[asyncio.Task[Any]] = []
    ref = Late.start()
    await ref.stop(block=False)
    assert waits[0].cancelled()


@virtual
async def test_a_coroutine_piped_just_before_the_end_is_not_left_unawaited() -> None:
    """Guards against "coroutine was never awaited" of a task cancelled before its first step."""
    ref = Piper.start()
    ref.tell(("pipe", forever()))
    ref.stop(block=False)
    await ref.joined()


@virtual
async def test_a_wait_that_hangs_on_cancellation_is_cut_short_by_a_kill() -> None:
    async def stubborn() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(1000)

    ref = Piper.start()
    ref.tell(("pipe", stubborn()))
    await turns()
    ref.stop(block=False)
    await asyncio.sleep(1)
    assert not ref.has_ended
    ref.kill()
    await ref.joined()
    assert asyncio.get_running_loop().time() < 1000


@virtual
async def test_watch_tells_of_a_stop_and_of_a_failure() -> None:
    error = ValueError("watched")
    ref, stopped, failed = Piper.start(), Scribe.start([]), Scribe.start([])
    for other in (stopped, failed):
        ref.tell(("watch", other))
    await turns()
    await stopped.stop(block=False)
    failed.tell(raising(error))
    await failed.joined()
    await turns()
    assert await heard(ref) == [("ended", None), ("ended", error)]
    await ref.stop(block=False)


@virtual
async def test_watching_an_actor_that_has_ended_tells_at_once() -> None:
    ref, stopped = Piper.start(), Scribe.start([])
    await stopped.stop(block=False)
    ref.tell(("watch", stopped))
    await turns()
    assert await heard(ref) == [("ended", None)]
    await ref.stop(block=False)


@virtual
async def test_an_error_of_a_wait_after_the_end_disturbs_nobody() -> None:
    async def fails_when_cancelled() -> None:
        try:
            await forever()
        finally:
            raise ValueError("while being cancelled")

    ref = Piper.start()
    ref.tell(("pipe", fails_when_cancelled()))
    await turns()
    await ref.stop(block=False)
    assert ref.failure is None


@virtual
async def test_asking_in_a_pipe_does_not_block_the_asker() -> None:
    ref, other = Piper.start(), Scribe.start([])
    ref.tell(("pipe", ask(other, lambda: heard(ref))))
    await asyncio.sleep(1)
    assert await heard(ref) == [("result", [])]
    await asyncio.gather(ref.stop(block=False), other.stop(block=False))
