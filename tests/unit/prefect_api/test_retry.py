from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.prefect_api.http.retry import LONGEST_WAIT, RetryPolicy, parse_retry_after
from tests.unit.prefect_api.clients import lowest

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", [408, 429, 502, 503])
def test_passing_troubles_are_retried(status: int) -> None:
    assert RetryPolicy().retries(status)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 409, 422, 423, 500, 504])
def test_nothing_else_is_retried_unless_asked_for(status: int) -> None:
    assert not RetryPolicy().retries(status)
    assert RetryPolicy(extra_codes=frozenset({status})).retries(status)


def test_waits_double_without_jitter() -> None:
    policy = RetryPolicy(jitter_factor=0)
    assert [policy.delay(sends, None, lowest) for sends in range(1, 6)] == [2, 4, 8, 16, 32]


def test_jitter_makes_a_wait_longer_by_its_factor_at_most() -> None:
    policy = RetryPolicy(jitter_factor=0.2)
    assert policy.delay(1, None, lambda low, high: low) == 2
    assert policy.delay(1, None, lambda low, high: high) == pytest.approx(2 * 1.2)


@given(st.floats(0, 60), st.integers(0, 6), st.floats(0, 1e5), st.randoms(use_true_random=False))
def test_no_jitter_undercuts_what_the_server_asks_for(
    factor: float, sends: int, asked: float, source: random.Random
) -> None:
    policy = RetryPolicy(jitter_factor=factor)
    delay = policy.delay(sends, asked, source.uniform)
    assert min(asked, LONGEST_WAIT) <= delay <= asked * (1 + factor) * 1.000001
    assert delay <= LONGEST_WAIT
    assert 0 <= policy.delay(sends, None, source.uniform) <= 2**sends * (1 + factor) * 1.000001


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("1.5", 1.5),
        ("0", 0),
        ("-3", 0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Thu, 01 Jan 2026 13:00:30 +0100", 30),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1" * 400, None),
        ("Thu, 01 Jan 99999999999999999999 12:00:00 GMT", None),
        ("Sat, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


WORDS = st.sampled_from(
    ["Thu,", "1", "Jan", "2026", "0001", "9" * 20, "12:00:00", f"{'9' * 20}:0:0", "+9999", "GMT"]
)


@given(st.text() | st.lists(WORDS | st.text(max_size=4), max_size=8).map(" ".join))
def test_any_retry_after_is_a_wait_or_none(header: str) -> None:
    seconds = parse_retry_after(header, NOW)
    assert seconds is None or seconds >= 0


def test_a_server_that_asks_for_decades_is_granted_an_hour() -> None:
    assert RetryPolicy().delay(1, 1e9, lowest) == LONGEST_WAIT
