from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from actors.orchestrator.flow_control import CAUTIOUS_ROUNDS, AdaptiveLimit, Gate


def test_a_round_of_good_answers_admits_one_more() -> None:
    limit = AdaptiveLimit(maximum=8, start=2)
    for _ in range(3):
        limit.succeeded()
    assert limit.value == 3


def test_an_overloaded_server_halves_the_limit() -> None:
    limit = AdaptiveLimit(maximum=8)
    limit.overloaded(limit.admitted())
    assert limit.value == 4


def test_after_that_it_takes_many_rounds_of_good_answers_to_admit_one_more() -> None:
    limit = AdaptiveLimit(maximum=4, start=4)
    limit.overloaded(limit.admitted())
    for _ in range(2 * CAUTIOUS_ROUNDS):
        assert limit.value == 2
        limit.succeeded()
    for _ in range(CAUTIOUS_ROUNDS):
        limit.succeeded()
    assert limit.value == 3


def test_requests_that_were_under_way_together_halve_it_once() -> None:
    limit = AdaptiveLimit(maximum=8)
    tickets = [limit.admitted() for _ in range(4)]
    for ticket in tickets:
        limit.overloaded(ticket)
    assert limit.value == 4
    limit.overloaded(limit.admitted())
    assert limit.value == 2


@given(st.lists(st.booleans()), st.integers(1, 16))
def test_the_limit_stays_between_one_and_the_maximum(good: list[bool], maximum: int) -> None:
    limit = AdaptiveLimit(maximum=maximum)
    for answer in good:
        ticket = limit.admitted()
        if answer:
            limit.succeeded()
        else:
            limit.overloaded(ticket)
        assert 1 <= limit.value <= maximum


def test_the_gate_lets_as_many_through_as_the_limit_allows_in_order() -> None:
    async def main() -> None:
        gate = Gate(AdaptiveLimit(maximum=2))
        leave = asyncio.Event()
        entered: list[int] = []

        async def pass_through(number: int) -> None:
            async with gate.pass_through():
                entered.append(number)
                await leave.wait()

        tasks = [asyncio.create_task(pass_through(number)) for number in range(5)]
        await asyncio.sleep(0)
        assert (entered, gate.in_flight) == ([0, 1], 2)
        leave.set()
        await asyncio.gather(*tasks)
        assert (entered, gate.in_flight) == ([0, 1, 2, 3, 4], 0)

    asyncio.run(main())


def test_places_of_cancelled_waiters_are_not_lost() -> None:
    async def main() -> None:
        gate = Gate(AdaptiveLimit(maximum=1))

        async def pass_through() -> None:
            async with gate.pass_through():
                await asyncio.sleep(0)

        async with gate.pass_through():
            waiting = [asyncio.create_task(pass_through()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()  # while it waits
            await asyncio.sleep(0)
        waiting[1].cancel()  # when the place is its own but it has not run yet
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [True, True, False]
        assert gate.in_flight == 0

    asyncio.run(main())
