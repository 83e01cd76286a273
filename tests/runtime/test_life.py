"""The hazards of an actor that is a task: how it starts, handles, gives way and fails."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from pykka import ActorDeadError, ActorRegistry

from actors.runtime import (
    AsyncioActor,
    AsyncioFuture,
    AsyncioRef,
    Ping,
)
from tests.runtime.kinds import SECONDS, loop_thread
from tests.runtime.scribe import Fine, Scribe, ask, raising, turns
from tests.support.virtual import virtual


def test_a_start_off_the_loop_raises_and_leaves_no_zombie_in_the_registry() -> None:
    with pytest.raises(RuntimeError, match="must be called on the event loop"):
        Scribe.start([])
    assert ActorRegistry.get_all() == []


@virtual
async def test_hooks_and_handlers_may_be_async() -> None:
    diary: list[str] = []
    ref = Scribe.start(diary, start=lambda: asyncio.sleep(1), stop=lambda: asyncio.sleep(1))
    assert await ask(ref, lambda: asyncio.sleep(1, "answer")) == "answer"
    await ref.stop(block=False)
    assert diary == ["start", "stop"]
    assert asyncio.get_running_loop().time() == pytest.approx(3)


@virtual
async def test_proxied_methods_may_be_async() -> None:
    class Slow(AsyncioActor):
        async def twice(self, number: int) -> int:
            await asyncio.sleep(1)
            return 2 * number

    ref = Slow.start()
    proxy: Any = ref.proxy()
    assert await proxy.twice(4) == 8
    await ref.stop(block=False)


@virtual
async def test_an_async_handler_is_through_before_the_next_message() -> None:
    diary: list[str] = []

    async def slow() -> None:
        diary.append("begin")
        await asyncio.sleep(1)
        diary.append("end")

    ref = Scribe.start(diary)
    ref.tell(slow)
    ref.tell(lambda: diary.append("next"))
    await ref.stop(block=False)
    assert diary == ["start", "begin", "end", "next", "stop"]


@virtual
async def test_a_ping_tells_that_on_start_is_through() -> None:
    diary: list[str] = []
    ref = Scribe.start(diary, start=lambda: asyncio.sleep(1))
    await ref.request(Ping(), timeout=5)
    assert diary == ["start"]
    await ref.stop(block=False)


@virtual
async def test_a_failing_on_start_is_seen_by_a_ping_and_kept_as_the_failure() -> None:
    diary: list[str] = []
    error = ValueError("at start")
    ref = Scribe.start(diary, start=raising(error))
    with pytest.raises(ActorDeadError):
        await ref.request(Ping(), timeout=5)
    assert ref.failure is error
    assert diary == []
    assert ActorRegistry.get_all() == []


@virtual
async def test_an_actor_nobody_refers_to_is_not_collected() -> None:
    """Guards against loops that hold tasks weakly: actor, ref, task and waiter are one cycle."""
    ref = Scribe.start([])
    await turns()
    ActorRegistry.unregister(ref)
    weak = weakref.ref(ref)
    del ref
    gc.collect()
    found = weak()
    assert found is not None
    assert await ask(found, lambda: "alive") == "alive"
    await found.stop(block=False)


@virtual
async def test_a_future_that_a_handler_returns_is_a_value_not_awaited() -> None:
    never: AsyncioFuture[int] = AsyncioFuture()
    ref = Scribe.start([])
    assert await ask(ref, lambda: never) is never
    await ref.stop(block=False)


def test_threads_tell_ask_and_stop_an_actor_of_another_loop() -> None:
    with loop_thread() as call:
        diary: list[str] = []
        ref: AsyncioRef = call(lambda: Scribe.start(diary))
        ref.tell(lambda: diary.append("told"))
        assert ref.ask(lambda: "answer", timeout=SECONDS) == "answer"
        assert ref.stop(timeout=SECONDS) is True
        assert diary == ["start", "told", "stop"]


def test_a_task_of_another_loop_can_ask() -> None:
    with loop_thread() as call:
        ref: AsyncioRef = call(lambda: Scribe.start([]))
        assert asyncio.run(ask(ref, lambda: "answer")) == "answer"
        assert ref.stop(timeout=SECONDS)


@virtual
async def test_a_busy_actor_gives_way_after_each_message() -> None:
    turns_of: list[str] = []
    refs = {name: Scribe.start([]) for name in ("a", "b")}
    for _ in range(5):
        for name, ref in refs.items():
            ref.tell(lambda name=name: turns_of.append(name))
    await asyncio.gather(*(ref.stop(block=False) for ref in refs.values()))
    assert turns_of == ["a", "b"] * 5


@virtual
async def test_an_actor_that_keeps_telling_itself_starves_nobody() -> None:
    ref = Scribe.start([])

    def again() -> None:
        ref.tell_if_alive(again)

    ref.tell(again)
    async with asyncio.timeout(1):
        await turns(100)
        assert await ref.stop(block=False)


@virtual
async def test_a_tell_that_fails_runs_on_failure_and_is_the_failure() -> None:
    diary: list[str] = []
    error = ValueError("told")
    ref = Scribe.start(diary)
    ref.tell(raising(error))
    await ref.joined()
    assert diary == ["start", "failure ValueError"]
    assert ref.failure is error


@virtual
async def test_an_ask_that_fails_is_the_askers_affair() -> None:
    ref = Scribe.start([])
    with pytest.raises(ValueError, match="asked"):
        await ask(ref, raising(ValueError("asked")))
    assert await ask(ref, lambda: "alive") == "alive"
    await ref.stop(block=False)
    assert ref.failure is None


@virtual
async def test_a_base_exception_in_an_ask_is_answered_and_stops_this_actor_alone() -> None:
    """pykka never answers it, and stops every actor of the program."""
    diary: list[str] = []
    bystander, ref = Scribe.start([]), Scribe.start(diary)
    with pytest.raises(Fine):
        await ask(ref, raising(Fine()))
    await ref.joined()
    assert diary == ["start", "stop"]
    assert isinstance(ref.failure, Fine)
    assert bystander.is_alive()
    await bystander.stop(block=False)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_base_exception_in_a_tell_stops_this_actor_alone(error: BaseException) -> None:
    """asyncio would let SystemExit and KeyboardInterrupt of a task out of the loop."""

    @virtual
    async def check() -> None:
        bystander, ref = Scribe.start([]), Scribe.start([])
        ref.tell(raising(error))
        await ref.joined()
        assert ref.failure is error
        assert await ask(bystander, lambda: "alive") == "alive"
        await bystander.stop(block=False)

    check()


@pytest.mark.parametrize("hook", ["start", "stop", "failure"])
def test_a_base_exception_in_a_hook_stays_within_the_actor(hook: str) -> None:
    @virtual
    async def check() -> None:
        ref = Scribe.start([], **{hook: raising(SystemExit(3))})
        await turns()
        if hook == "stop":
            await ref.stop(block=False)
        if hook == "failure":
            ref.tell(raising(ValueError()))
        await ref.joined()
        assert isinstance(ref.failure, ValueError if hook == "failure" else SystemExit)

    check()


@virtual
async def test_a_failing_on_stop_is_the_failure() -> None:
    error = ValueError("at stop")
    ref = Scribe.start([], stop=raising(error))
    assert await ref.stop(block=False) is True
    assert ref.failure is error


@virtual
async def test_a_failing_on_failure_keeps_the_first_failure() -> None:
    error = ValueError("told")
    ref = Scribe.start([], failure=raising(ValueError("at failure")))
    ref.tell(raising(error))
    await ref.joined()
    assert ref.failure is error


@virtual
async def test_an_expected_failure_ends_the_actor_without_a_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Candid(AsyncioActor):
        expected_failures = (ValueError,)

        def on_receive(self, message: Exception) -> None:
            raise message

    for failure, lines in ((ValueError("said"), 0), (KeyError("a bug"), 1)):
        caplog.clear()
        ref = Candid.start()
        ref.tell(failure)
        await ref.joined()
        assert ref.failure is failure
        assert ref.actor_urn not in {other.actor_urn for other in ActorRegistry.get_all()}
        assert len([line for line in caplog.records if line.levelname == "ERROR"]) == lines
