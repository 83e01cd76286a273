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
    Restart,
    RestartBudget,
    Supervisor,
)
from tests.runtime.house import BUDGET, House, now, slowly
from tests.runtime.scribe import Scribe, ask, forever, raising, turns
from tests.support.virtual import virtual


@virtual
async def test_children_start_in_order_each_up_before_the_next_and_stop_in_reverse() -> None:
    house = House()
    ref = house.supervise(
        house.child("a", start=slowly(2)), house.child("b", stop=slowly(1)), house.child("c")
    )
    await ref.request(Ping(), timeout=None)
    assert house.events == [(2, "a start"), (2, "b start"), (2, "c start")]
    await ref.stop(block=False)
    assert house.events[3:] == [(2, "c stop"), (3, "b stop"), (3, "a stop")]
    assert ActorRegistry.get_all() == []


@virtual
async def test_a_failed_child_is_restarted_alone_and_found_under_its_name() -> None:
    house = House()
    ref = house.supervise(house.child("a"), house.child("b"), house.child("c"))
    await ref.request(Ping(), timeout=None)
    address, before = house.directory.address("b"), house.ref("b")
    await house.break_("b")
    assert house.what[3:] == ["b failure ValueError", "b start"]
    assert house.ref("b") is not before
    await address.request(Ping(), timeout=1)
    await ref.stop(block=False)
    assert house.what[5:] == ["c stop", "b stop", "a stop"]


@pytest.mark.parametrize(
    ("restart", "fails", "comes_back"),
    [
        (Restart.PERMANENT, False, True),
        (Restart.TRANSIENT, False, False),
        (Restart.TRANSIENT, True, True),
        (Restart.TEMPORARY, False, False),
        (Restart.TEMPORARY, True, False),
    ],
)
def test_the_kind_of_child_says_whether_it_comes_back(
    restart: Restart, fails: bool, comes_back: bool
) -> None:
    @virtual
    async def check() -> None:
        house = House()
        ref = house.supervise(house.child("a", restart))
        await ref.request(Ping(), timeout=None)
        if fails:
            await house.break_("a")
        else:
            await house.ref("a").stop(block=False)
            await turns(10)
        assert (house.directory.find("a") is not None) is comes_back
        assert await ref.stop(block=False)

    check()


@virtual
async def test_a_spent_budget_ends_the_supervisor_loudly_and_all_children_with_it() -> None:
    house = House()
    ref = house.supervise(house.child("a"), house.child("b"))
    await ref.request(Ping(), timeout=None)
    for _ in range(3):
        await house.break_("b")
    assert ref.is_alive()
    await house.break_("b")
    await ref.joined()
    assert isinstance(ref.failure, BudgetExhausted)
    assert "b failed, and more than 3 restarts within 60 s" in str(ref.failure)
    assert str(ref.failure.__cause__) == "b is broken"
    assert house.what[-1] == "a stop"
    assert ActorRegistry.get_all() == []


@virtual
async def test_failures_spread_over_time_do_not_spend_the_budget() -> None:
    house = House()
    ref = house.supervise(house.child("a"))
    await ref.request(Ping(), timeout=None)
    for _ in range(20):
        await house.break_("a")
        await asyncio.sleep(21)
    assert ref.is_alive()
    await ref.stop(block=False)


@virtual
async def test_restarts_back_off() -> None:
    house = House()
    ref = house.supervise(house.child("a"), backoff=lambda failures: 2.0**failures)
    await ref.request(Ping(), timeout=None)
    for pause in (2, 4, 8):
        await house.break_("a")
        assert house.directory.find("a") is None
        await asyncio.sleep(pause)
        await turns()
    starts = [at for at, event in house.events if event == "a start"]
    assert starts == [0, 2, 6, 14]
    await ref.stop(block=False)


@virtual
async def test_a_stop_while_a_restart_is_due_restarts_nothing() -> None:
    house = House()
    ref = house.supervise(house.child("a"), backoff=lambda _: 10.0)
    await ref.request(Ping(), timeout=None)
    await house.break_("a")
    await ref.stop(block=False)
    await asyncio.sleep(60)
    assert house.what == ["a start", "a failure ValueError"]


@virtual
async def test_a_restart_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="actors.runtime.supervision")
    house = House()
    ref = house.supervise(house.child("a"))
    await ref.request(Ping(), timeout=None)
    await house.break_("a")
    [record] = [r for r in caplog.records if r.name == "actors.runtime.supervision"]
    assert record.message == "actor.restarting"
    assert vars(record)["actor"] == "a"
    assert "a is broken" in vars(record)["cause"]
    await ref.stop(block=False)


@virtual
async def test_supervisors_can_be_supervised() -> None:
    house = House()
    inner = ChildSpec(
        name="inner",
        start=lambda: house.supervise(
            house.child("leaf"), budget=RestartBudget(intensity=0, period_seconds=1.0)
        ),
        shutdown_seconds=None,
    )
    ref = house.supervise(inner)
    await ref.request(Ping(), timeout=None)
    await house.break_("leaf")  # the inner supervisor gives up, and is restarted itself
    assert await ask(house.ref("leaf"), lambda: "alive") == "alive"
    await ref.stop(block=False)
    assert house.what == ["leaf start", "leaf failure ValueError", "leaf start", "leaf stop"]


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
    house = House()
    error = ValueError("no database")
    ref = house.supervise(
        house.child("a"), house.child("b", start=raising(error)), house.child("c")
    )
    await ref.joined()
    assert isinstance(ref.failure, ChildDidNotStart)
    assert ref.failure.__cause__ is error
    assert house.what == ["a start", "a stop"]
    assert ActorRegistry.get_all() == []


@virtual
async def test_a_child_whose_constructor_fails_ends_a_starting_supervisor() -> None:
    house = House()
    wrong = ChildSpec(name="wrong", start=lambda: Scribe.start())
    ref = house.supervise(house.child("a"), wrong)
    await ref.joined()
    assert isinstance(ref.failure, ChildDidNotStart)
    assert isinstance(ref.failure.__cause__, TypeError)
    assert house.what == ["a start", "a stop"]


@virtual
async def test_a_child_that_hangs_in_on_start_is_killed_and_ends_a_starting_supervisor() -> None:
    house = House()
    ref = house.supervise(house.child("a", start=forever), start_seconds=7.0)
    await ref.joined()
    assert isinstance(ref.failure, ChildDidNotStart)
    assert now() == 7
    assert ActorRegistry.get_all() == []


@virtual
async def test_a_restart_that_fails_costs_a_restart_too() -> None:
    house = House()
    outage = [False]
    flaky = house.child("a", start=lambda: 1 / 0 if outage[0] else None)
    ref = house.supervise(flaky, backoff=lambda _: 1.0)
    await ref.request(Ping(), timeout=None)
    outage[0] = True
    await house.break_("a")
    await ref.joined()
    assert isinstance(ref.failure, BudgetExhausted)
    assert isinstance(ref.failure.__cause__, ZeroDivisionError)
    assert now() == 3
