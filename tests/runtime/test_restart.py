"""How often children may be restarted."""

from __future__ import annotations

from actors.runtime import RestartBudget


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
