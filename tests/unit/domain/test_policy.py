from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain.policy import (
    Backoff,
    is_healthy,
    jittered,
)
from tests.support.builders import a_run

# --- rhythm -----------------------------------------------------------------------------------


@given(interval=st.floats(0.001, 1e6), seed=st.integers())
def test_waits_stay_within_the_peers_bounds(interval: float, seed: int) -> None:
    assert 0.7517 <= jittered(interval, Random(seed)) / interval <= 1.3 + 1e-9
    assert 0.824 <= jittered(interval, Random(seed), spread=0.2) / interval <= 1.2 + 1e-9


def test_waits_keep_the_interval_on_average() -> None:
    rng = Random(1)
    assert fmean(jittered(10, rng) for _ in range(5000)) == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("interval", [0, -1])
def test_no_interval_is_no_wait(interval: float) -> None:
    assert jittered(interval, Random(1)) == 0


def test_without_spread_a_wait_is_the_interval() -> None:
    assert jittered(5, Random(1), spread=0) == 5


def test_backoff_doubles_up_to_its_ceiling() -> None:
    backoff = Backoff(initial=2, ceiling=60)
    assert [backoff.bare_delay(n) for n in (0, 1, 2, 3, 4, 5, 6, 10**9)] == [
        0,
        2,
        4,
        8,
        16,
        32,
        60,
        60,
    ]


@given(failures=st.integers(1, 100), seed=st.integers())
def test_chance_moves_a_backoff_by_a_fifth_at_most(failures: int, seed: int) -> None:
    backoff = Backoff()
    bare = backoff.bare_delay(failures)
    assert 0.82 * bare <= backoff.delay(failures, Random(seed)) <= 1.2 * bare + 1e-9


# --- starting ---------------------------------------------------------------------------------


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(("due_in", "wait"), [(8, 8), (-5, 0), (None, 0)])
def test_how_long_a_run_has_to_wait(due_in: int | None, wait: float) -> None:
    due = None if due_in is None else NOW + timedelta(seconds=due_in)
    assert a_run(due=due).due_in(NOW) == wait


# --- health -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "excused_until", "healthy"),
    [(400, None, True), (400.1, None, False), (900, 700, True), (1001, 700, False)],
)
def test_a_worker_is_healthy_within_thirty_polls_of_the_last_one(
    now: float, excused_until: float | None, healthy: bool
) -> None:
    verdict = is_healthy(now=now, last_poll=100, query_seconds=10, excused_until=excused_until)
    assert verdict is healthy
