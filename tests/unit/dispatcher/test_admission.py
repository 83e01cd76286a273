from __future__ import annotations

from collections.abc import Container, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.dispatcher.admission import (
    HELD_BACK_SECONDS,
    MAX_RUNS_PER_POLL,
    REMEMBERED_SECONDS,
    Admission,
    Share,
    runs_to_ask_for,
    runs_to_look_for,
    within,
)
from actors.domain.ids import DeploymentId, FlowRunId
from actors.domain.model import FlowRun
from tests.support.builders import a_run

NOW = 1000.0


def wanted(
    admission: Admission,
    due: Iterable[FlowRun],
    *,
    in_hand: Container[FlowRunId] = (),
    asked_at: float = NOW,
    now: float = NOW,
) -> list[str]:
    fresh = admission.wanted(due, in_hand=in_hand, asked_at=asked_at, now=now)
    return [run.id for run in fresh]


@pytest.mark.parametrize(
    ("free_slots", "passed_over", "limit"),
    [
        (None, 0, MAX_RUNS_PER_POLL),
        (5, 0, 5),
        (5, 3, 8),
        (0, 0, 1),
        (-2, 0, 1),
        (500, 0, MAX_RUNS_PER_POLL),
    ],
)
def test_how_many_runs_to_ask_for(free_slots: int | None, passed_over: int, limit: int) -> None:
    assert runs_to_ask_for(free_slots, passed_over) == limit


@given(
    free_slots=st.integers(1, 50),
    claimed=st.integers(0, 50),
    held_back=st.integers(0, 50),
    waiting=st.integers(1, 100),
)
def test_runs_that_cannot_be_admitted_never_starve_those_behind_them(
    free_slots: int, claimed: int, held_back: int, waiting: int
) -> None:
    admission = Admission()
    in_hand = {FlowRunId(f"claimed-{n}") for n in range(claimed)}
    held = [FlowRunId(f"held-{n}") for n in range(held_back)]
    for id in held:
        admission.settled(id, was_refused=True, now=NOW - 1)
    fresh = [f"fresh-{n}" for n in range(waiting)]
    queue = [a_run(id) for id in (*in_hand, *held, *fresh)]
    answer = queue[: runs_to_ask_for(free_slots, claimed + len(admission.refused(NOW)))]
    assert wanted(admission, answer, in_hand=in_hand)[:free_slots] == fresh[:free_slots]


def test_a_run_listed_twice_is_wanted_once_and_order_is_kept() -> None:
    assert wanted(Admission(), [a_run("b"), a_run("a"), a_run("b")]) == ["b", "a"]


def test_a_run_settled_since_the_poll_was_sent_is_listed_by_mistake() -> None:
    admission = Admission()
    admission.settled(FlowRunId("a"), was_refused=False, now=NOW)
    assert wanted(admission, [a_run("a")], asked_at=NOW) == []
    assert wanted(admission, [a_run("a")], asked_at=NOW + 0.1) == ["a"]


def test_what_was_refused_waits_and_then_comes_last_until_that_is_forgotten() -> None:
    admission = Admission()
    admission.settled(FlowRunId("a"), was_refused=True, now=NOW)
    due = [a_run("a"), a_run("b")]

    def after(seconds: float) -> list[str]:
        return wanted(admission, due, asked_at=NOW + seconds, now=NOW + seconds)

    assert after(HELD_BACK_SECONDS - 0.1) == ["b"]
    assert after(HELD_BACK_SECONDS) == ["b", "a"]
    assert not admission.refused(NOW + REMEMBERED_SECONDS)
    assert after(REMEMBERED_SECONDS) == ["a", "b"]


def test_runs_of_a_full_deployment_come_after_those_of_others() -> None:
    admission = Admission()
    full, other = DeploymentId("full"), DeploymentId("other")
    admission.settled(FlowRunId("refused"), was_refused=True, now=NOW - 1)
    due = [
        a_run("refused", deployment_id=full),
        a_run("next", deployment_id=full),
        a_run("of another", deployment_id=other),
        a_run("of none", deployment_id=None),
    ]
    assert wanted(admission, due) == ["of another", "of none", "next"]
    assert admission.full_deployments == {full}
    assert [admission.is_promising(run) for run in due] == [False, False, True, True]
    assert wanted(admission, due[1:]) == ["next", "of another", "of none"]
    assert not admission.full_deployments


def test_a_run_that_was_lost_to_another_worker_says_nothing_of_its_deployment() -> None:
    admission = Admission()
    admission.settled(FlowRunId("lost"), was_refused=True, now=NOW)
    listed_before_that = [a_run("lost"), a_run("next")]
    assert wanted(admission, listed_before_that, asked_at=NOW - 1) == ["next"]
    assert not admission.full_deployments


@pytest.mark.parametrize(
    ("free_slots", "number"),
    [(None, MAX_RUNS_PER_POLL), (3, 3), (0, 0), (1000, MAX_RUNS_PER_POLL)],
)
def test_how_many_promising_runs_are_enough(free_slots: int | None, number: int) -> None:
    assert runs_to_look_for(free_slots) == number


def share(room: int, *runs: str) -> Share:
    return Share(runs=frozenset(map(FlowRunId, runs)), room=room)


@pytest.mark.parametrize(
    ("shares", "in_hand", "allowed"),
    [
        ([], "", "abcd"),
        ([share(1, "a", "b")], "", "acd"),
        ([share(1, "a", "b"), share(2, "a", "b", "c", "d")], "", "ac"),
        ([share(0, "a"), share(5, "b")], "", "bcd"),
        ([share(2, "a", "b", "x")], "x", "acd"),
        ([share(1, "a", "x", "y")], "xy", "bcd"),
    ],
)
def test_no_share_is_exceeded_and_a_claim_under_way_counts(
    shares: list[Share], in_hand: str, allowed: str
) -> None:
    runs = [a_run(id) for id in "abcd"]
    claimed = frozenset(map(FlowRunId, in_hand))
    assert [run.id for run in within(shares, runs, claimed)] == list(allowed)
