"""How many requests at once a server bears, which the pace of its answers tells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.prefect_api.http.concurrency import (
    CAUTIOUS_ROUNDS,
    FIRST_ROUNDS,
    AdaptiveLimit,
    UsualSeconds,
)

USUAL = 0.1
"""Seconds."""


def answers(limit: AdaptiveLimit, number: int, *, pace: float = 1.0, full: bool = True) -> None:
    """So many answers that each took ``pace`` times the usual time."""
    for _ in range(number):
        limit.answered(limit.admitted(), pace * USUAL, usual=USUAL, full=full)


# -- the rule --------------------------------------------------------------------------


def test_a_round_of_fast_answers_admits_one_more() -> None:
    limit = AdaptiveLimit(maximum=8, start=2)
    answers(limit, 1)
    assert limit.value == 2
    answers(limit, 1)
    assert limit.value == 3


def test_a_round_of_slow_answers_admits_one_less() -> None:
    limit = AdaptiveLimit(maximum=8)
    answers(limit, 8, pace=2)
    assert limit.value == 7


def test_a_round_counts_as_a_whole() -> None:
    limit = AdaptiveLimit(maximum=8, start=4)
    answers(limit, 1, pace=3)
    answers(limit, 3, pace=0.8)
    assert limit.value == 5


def test_answers_while_there_was_room_for_more_tell_nothing() -> None:
    limit = AdaptiveLimit(maximum=8, start=2)
    answers(limit, 100, full=False)
    assert limit.value == 2


def test_an_overloaded_server_halves_the_limit() -> None:
    limit = AdaptiveLimit(maximum=8)
    limit.overloaded(limit.admitted())
    assert limit.value == 4


def test_an_answer_that_takes_far_longer_than_usual_comes_from_an_overloaded_server() -> None:
    limit = AdaptiveLimit(maximum=8)
    limit.answered(limit.admitted(), 20 * USUAL, usual=USUAL)
    assert limit.value == 4
    limit.answered(limit.admitted(), 20 * USUAL, usual=20 * USUAL)
    assert limit.value == 4


def test_what_takes_less_than_a_second_tells_of_no_overload() -> None:
    limit = AdaptiveLimit(maximum=8)
    limit.answered(limit.admitted(), 0.9, usual=0.001)
    assert limit.value == 8


def test_a_server_that_does_one_thing_at_a_time_gets_one_request_and_seldom_two() -> None:
    limit = AdaptiveLimit(maximum=8, start=4)
    seen = []
    for _ in range(1000):
        answers(limit, 1, pace=limit.value)
        seen.append(limit.value)
    later = seen[100:]
    assert set(later) == {1, 2}
    assert later.count(2) < 0.1 * len(later)


def test_a_server_that_does_many_things_at_once_gets_many_requests() -> None:
    limit = AdaptiveLimit(maximum=8, start=1)
    answers(limit, FIRST_ROUNDS + 2 + 3 + 4 + 5 + 6 + 7)
    assert limit.value == 8


def test_a_server_that_does_four_things_at_once_gets_about_as_many_requests() -> None:
    limit = AdaptiveLimit(maximum=16, start=1)
    for _ in range(1000):
        answers(limit, 1, pace=max(1.0, limit.value / 4))
        assert limit.value <= 7
    assert limit.value >= 4


def test_once_it_has_fallen_it_takes_many_rounds_of_fast_answers_to_admit_one_more() -> None:
    limit = AdaptiveLimit(maximum=4, start=4)
    limit.overloaded(limit.admitted())
    for _ in range(2 * CAUTIOUS_ROUNDS):
        assert limit.value == 2
        answers(limit, 1)
    assert limit.value == 3


def test_requests_that_were_under_way_together_halve_it_once() -> None:
    limit = AdaptiveLimit(maximum=8)
    tickets = [limit.admitted() for _ in range(4)]
    for ticket in tickets:
        limit.overloaded(ticket)
    assert limit.value == 4
    limit.overloaded(limit.admitted())
    assert limit.value == 2


@given(
    st.lists(st.none() | st.tuples(st.floats(0, 1e6), st.booleans())),
    st.integers(1, 16),
    st.floats(0, 1e3),
)
def test_the_limit_stays_between_one_and_the_maximum(
    answers: list[tuple[float, bool] | None], maximum: int, usual: float
) -> None:
    limit = AdaptiveLimit(maximum=maximum)
    for answer in answers:
        ticket = limit.admitted()
        if answer is None:
            limit.overloaded(ticket)
        else:
            limit.answered(ticket, answer[0], usual=usual, full=answer[1])
        assert 1 <= limit.value <= maximum


# -- what is usual ------------------------------------------------------------------------------


def test_each_kind_has_its_usual_time() -> None:
    usual = UsualSeconds()
    usual.measured("claim", 0.1)
    usual.measured("poll", 1.0)
    assert (usual.of("claim"), usual.of("poll")) == (0.1, 1.0)


def test_one_hanging_request_does_not_become_the_usual() -> None:
    usual = UsualSeconds()
    usual.measured("claim", 0.1)
    usual.measured("claim", 55.0)
    assert usual.of("claim") < 0.12


def test_a_first_measurement_that_hung_is_soon_forgotten() -> None:
    usual = UsualSeconds()
    usual.measured("claim", 55.0)
    for _ in range(10):
        usual.measured("claim", 0.1)
    assert usual.of("claim") < 0.2


def test_a_server_that_became_slower_is_learned_in_time() -> None:
    usual = UsualSeconds()
    usual.measured("claim", 0.1)
    for _ in range(100):
        usual.measured("claim", 1.0)
    assert 0.9 < usual.of("claim") <= 1.0
