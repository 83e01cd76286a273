"""CancelledError may be meant for an actor, or come out of what it awaits."""

from __future__ import annotations

import asyncio

import pytest
from pykka import ActorDeadError, ActorRegistry

from actors.runtime import (
    ActorKilled,
    AsyncioRef,
    WaitCancelled,
)
from tests.runtime.kinds import SECONDS, loop_thread, stranded
from tests.runtime.scribe import Scribe, ask, forever, raising, turns
from tests.support.virtual import virtual


async def await_something_cancelled() -> None:
    task = asyncio.ensure_future(forever())
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


@virtual
async def test_a_cancelled_wait_in_an_ask_is_an_error_for_the_asker() -> None:
    ref = Scribe.start([])
    with pytest.raises(WaitCancelled):
        await ask(ref, await_something_cancelled)
    assert await ask(ref, lambda: "alive") == "alive"
    await ref.stop(block=False)


@virtual
async def test_a_cancelled_wait_in_a_tell_is_a_failure() -> None:
    diary: list[str] = []
    ref = Scribe.start(diary)
    ref.tell(await_something_cancelled)
    await ref.joined()
    assert diary == ["start", "failure WaitCancelled"]


@virtual
async def test_a_kill_ends_an_actor_in_the_middle_of_a_message() -> None:
    diary: list[str] = []
    ref = Scribe.start(diary)
    asked, queued = ref.ask(forever, block=False), ref.ask(forever, block=False)
    await turns()
    ref.kill()
    with pytest.raises(ActorKilled):
        await asked
    await ref.joined()
    with pytest.raises(ActorDeadError, match="stopped before"):
        await queued
    assert diary == ["start", "failure ActorKilled"]
    assert isinstance(ref.failure, ActorKilled)
    assert ActorRegistry.get_all() == []


@pytest.mark.parametrize("turns_before", [0, 5])
def test_a_kill_ends_an_actor_that_has_not_begun_or_that_sleeps(turns_before: int) -> None:
    """Guards against a task cancelled before its first step: no code of it ever runs."""

    @virtual
    async def check() -> None:
        ref = Scribe.start([])
        reply = ref.ask(lambda: "never", block=False) if not turns_before else None
        await turns(turns_before)
        ref.kill()
        await ref.joined()
        assert isinstance(ref.failure, ActorKilled)
        assert ActorRegistry.get_all() == []
        if reply is not None:
            with pytest.raises(ActorDeadError):
                await reply

    check()


@virtual
async def test_a_kill_that_the_handler_swallows_still_ends_the_actor() -> None:
    async def stubborn() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            return "never mind"
        return "woken"

    ref = Scribe.start([])
    reply = ref.ask(stubborn, block=False)
    await turns()
    ref.kill()
    with pytest.raises(ActorKilled):
        await reply
    await ref.joined()


@pytest.mark.parametrize("hook", ["start", "stop", "failure"])
def test_a_kill_ends_an_actor_that_hangs_in_a_hook(hook: str) -> None:
    @virtual
    async def check() -> None:
        ref = Scribe.start([], **{hook: forever})
        await turns()
        if hook == "stop":
            ref.stop(block=False)
        if hook == "failure":
            ref.tell(raising(ValueError()))
        await turns()
        assert not ref.has_ended
        ref.kill()
        await ref.joined()
        assert ref.failure is not None

    check()


@virtual
async def test_an_actor_may_kill_itself() -> None:
    diary: list[str] = []
    ref = Scribe.start(diary)
    ref.tell(ref.kill)
    await ref.joined()
    assert diary == ["start", "failure ActorKilled"]


@virtual
async def test_on_failure_can_wait_after_a_kill_and_a_second_kill_cuts_it_short() -> None:
    diary: list[str] = []
    refs = [Scribe.start(diary, failure=wait) for wait in (lambda: asyncio.sleep(1), forever)]
    await turns()
    for ref in refs:
        ref.kill()
    await refs[0].joined()
    assert not refs[1].has_ended
    refs[1].kill()
    await refs[1].joined()
    assert diary == ["start", "start", "failure ActorKilled"]


def test_another_thread_can_kill() -> None:
    with loop_thread() as call:
        ref: AsyncioRef = call(lambda: Scribe.start([]))
        reply = ref.ask(forever, block=False)
        ref.kill()
        with pytest.raises(ActorDeadError):
            reply.get(timeout=SECONDS)
        assert isinstance(ref.ended.get(timeout=SECONDS), ActorKilled)
        ref.kill()


def test_actors_left_when_the_loop_closes_run_on_failure_and_leave_the_registry() -> None:
    diary: list[str] = []

    async def main() -> None:
        Scribe.start(diary)
        await turns()

    asyncio.run(main())
    assert diary == ["start", "failure ActorKilled"]
    assert ActorRegistry.get_all() == []


def test_a_cancelled_wait_in_on_failure_after_a_kill_is_not_taken_for_another_kill(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @virtual
    async def check() -> None:
        ref = Scribe.start([], failure=await_something_cancelled)
        await turns()
        ref.kill()
        await ref.joined()

    check()
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert kinds == [ActorKilled, WaitCancelled]


def test_an_actor_whose_loop_is_closed_under_it_ends_without_a_word() -> None:
    """Guards against awaiting on after GeneratorExit, which Python would complain about."""
    diary: list[str] = []
    # Python closes what nobody refers to. An actor that was started is always referred to, and
    # no task of a closed loop ever ends: so this is its bare life, without the rest.
    with stranded(Scribe(diary)._actor_life._live()):  # noqa: SLF001
        assert diary == ["start"]
