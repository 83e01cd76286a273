"""When a child is restarted, and how often: pure decisions."""

from __future__ import annotations

import pytest

from actors.runtime import Restart, RestartBudget


@pytest.mark.parametrize(
    ("restart", "after_a_stop", "after_a_failure"),
    [
        (Restart.PERMANENT, True, True),
        (Restart.TRANSIENT, False, True),
        (Restart.TEMPORARY, False, False),
    ],
)
def test_which_ends_are_followed_by_a_restart(
    restart: Restart, after_a_stop: bool, after_a_failure: bool
) -> None:
    assert restart.applies(None) is after_a_stop
    assert restart.applies(ValueError()) is after_a_failure


def test_a_budget_is_exhausted_by_one_restart_more_than_its_intensity() -> None:
    budget = RestartBudget(intensity=2, period_seconds=10.0)
    for now in (0.0, 1.0):
        budget = budget.spend(now)
        assert not budget.is_exhausted
    assert budget.spend(2.0).is_exhausted


def test_restarts_are_forgotten_after_the_period() -> None:
    budget = RestartBudget(intensity=2, period_seconds=10.0).spend(0.0).spend(5.0)
    assert budget.spend(10.0).spent == 2
    assert budget.spend(9.9).is_exhausted


def test_a_budget_of_none_allows_no_restart() -> None:
    assert RestartBudget(intensity=0, period_seconds=10.0).spend(0.0).is_exhausted
