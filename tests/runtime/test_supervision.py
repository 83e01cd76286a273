"""Supervisors, after OTP: children in order, pings, restarts within a budget."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pykka import ActorRegistry

from actors.runtime import (
    BudgetExhausted,
    ChildDidNotStart,
    ChildSpec,
    Directory,
    Ping,
    RestartBudget,
    Supervisor,
)
from tests.runtime.children import BUDGET, Children, now, slowly
from tests.runtime.scribe import Scribe, ask, forever, raising, turns
from tests.support.virtual import virtual


@virtual
async def test_children_start_in_order_each_up_before_the_next_and_stop_in_reverse() -> None:
    children = Children()
    ref = children.supervise(
        children.child("a", start=slowly(2)),
        children.child("b", stop=slowly(1)),
        children.child("c"),
    )
    await ref.request(Ping(), timeout=None)
    assert children.events == [(2, "a start"), (2, "b start"), (2, "c start")]
    await ref.stop(block=False)
    assert children.events[3:] == [(2, "c stop"), (3, "b stop"), (3, "a stop")]
    assert ActorRegistry.get_all() == []


@virtual
async def test_a_failed_child_is_restarted_alone_and_found_under_its_name() -> None:
    children = Children()
    ref = children.supervise(children.child("a"), children.child("b"), children.child("c"))
    await ref.request(Ping(), timeout=None)
    address, before = children.directory.address("b"), children.ref("b")
    await children.break_("b")
    assert children.what[3:] == ["b failure ValueError", "b start"]
    assert children.ref("b") is not before
    await address.request(Ping(), timeout=1)
    await ref.stop(block=False)
    assert children.what[5:] == ["c stop", "b stop", "a stop"]


@virtual
async def test_a_child_that_was_stopped_comes_back_too() -> None:
    children = Children()
    ref = children.supervise(children.child("a"))
    await ref.request(Ping(), timeout=None)
    await children.ref("a").stop(block=False)
    await turns(10)
    assert children.what == ["a start", "a stop", "a start"]
    await ref.stop(block=False)


@virtual
async def test_a_spent_budget_ends_the_supervisor_loudly_and_all_children_with_it() -> None:
    children = Children()
    ref = children.supervise(children.child("a"), children.child("b"))
    await ref.request(Ping(), timeout=None)
    for _ in range(3):
        await children.break_("b")
    assert ref.is_alive()
    await children.break_("b")
    await ref.joined()
    assert isinstance(ref.failure, BudgetExhausted)
    assert "b failed, and more than 3 restarts within 60 s" in str(ref.failure)
    assert str(ref.failure.__cause__) == "b is broken"
    assert children.what[-1] == "a stop"
    assert ActorRegistry.get_all() == []


@virtual
async def test_failures_spread_over_time_do_not_spend_the_budget() -> None:
    children = Children()
    ref = children.supervise(children.child("a"))
    await ref.request(Ping(), timeout=None)
    for _ in range(20):
        await children.break_("a")
        await asyncio.sleep(21)
    assert ref.is_alive()
    await ref.stop(block=False)


@virtual
async def test_restarts_back_off() -> None:
    children = Children()
    ref = children.supervise(children.child("a"), backoff=lambda failures: 2.0**failures)
    await ref.request(Ping(), timeout=None)
    for pause in (2, 4, 8):
        await children.break_("a")
        assert children.directory.find("a") is None
        await asyncio.sleep(pause)
        await turns()
    starts = [at for at, event in children.events if event == "a start"]
    assert starts == [0, 2, 6, 14]
    await ref.stop(block=False)


@virtual
async def test_a_stop_while_a_restart_is_due_restarts_nothing() -> None:
    children = Children()
    ref = children.supervise(children.child("a"), backoff=lambda _: 10.0)
    await ref.request(Ping(), timeout=None)
    await children.break_("a")
    await ref.stop(block=False)
    await asyncio.sleep(60)
    assert children.what == ["a start", "a failure ValueError"]


@virtual
async def test_a_restart_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="actors.runtime.supervision")
    children = Children()
    ref = children.supervise(children.child("a"))
    await ref.request(Ping(), timeout=None)
    await children.break_("a")
    [record] = [r for r in caplog.records if r.name == "actors.runtime.supervision"]
    assert record.message == "actor.restarting"
    assert vars(record)["actor"] == "a"
    assert "a is broken" in vars(record)["cause"]
    await ref.stop(block=False)


@virtual
async def test_supervisors_can_be_supervised() -> None:
    children = Children()
    inner = ChildSpec(
        name="inner",
        start=lambda: children.supervise(
            children.child("leaf"), budget=RestartBudget(intensity=0, period_seconds=1.0)
        ),
    )
    ref = children.supervise(inner)
    await ref.request(Ping(), timeout=None)
    await children.break_("leaf")  # the inner supervisor gives up, and is restarted itself
    assert await ask(children.ref("leaf"), lambda: "alive") == "alive"
    await ref.stop(block=False)
    assert children.what == ["leaf start", "leaf failure ValueError", "leaf start", "leaf stop"]


@virtual
async def test_a_supervisor_may_have_messages_of_its_own() -> None:
    class Warden(Supervisor):
        def on_receive(self, message: str) -> str:
            return message.upper()

    ref = Warden.start([], budget=BUDGET, directory=Directory())
    assert await ref.ask("hello", block=False) == "HELLO"
    await ref.stop(block=False)


# -- children that do not start --------------------------------------------------------------


@virtual
async def test_a_child_that_fails_in_on_start_ends_a_starting_supervisor() -> None:
    """pykka's start() returns a ref all the same, and no hook is called."""
    children = Children()
    error = ValueError("no database")
    ref = children.supervise(
        children.child("a"), children.child("b", start=raising(error)), children.child("c")
    )
    await ref.joined()
    assert isinstance(ref.failure, ChildDidNotStart)
    assert ref.failure.__cause__ is error
    assert children.what == ["a start", "a stop"]
    assert ActorRegistry.get_all() == []


@virtual
async def test_a_child_whose_constructor_fails_ends_a_starting_supervisor() -> None:
    children = Children()
    wrong = ChildSpec(name="wrong", start=lambda: Scribe.start())
    ref = children.supervise(children.child("a"), wrong)
    await ref.joined()
    assert isinstance(ref.failure, ChildDidNotStart)
    assert isinstance(ref.failure.__cause__, TypeError)
    assert children.what == ["a start", "a stop"]


@virtual
async def test_a_child_that_hangs_in_on_start_is_killed_and_ends_a_starting_supervisor() -> None:
    children = Children()
    ref = children.supervise(children.child("a", start=forever))
    await ref.joined()
    assert isinstance(ref.failure, ChildDidNotStart)
    assert now() == 10
    assert ActorRegistry.get_all() == []


@virtual
async def test_a_restart_that_fails_costs_a_restart_too() -> None:
    children = Children()
    outage = [False]
    flaky = children.child("a", start=lambda: 1 / 0 if outage[0] else None)
    ref = children.supervise(flaky, backoff=lambda _: 1.0)
    await ref.request(Ping(), timeout=None)
    outage[0] = True
    await children.break_("a")
    await ref.joined()
    assert isinstance(ref.failure, BudgetExhausted)
    assert isinstance(ref.failure.__cause__, ZeroDivisionError)
    assert now() == 3
