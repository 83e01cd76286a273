from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.dispatcher.admission import (
    HELD_BACK_SECONDS,
    REMEMBERED_SECONDS,
    AdmissionControl,
    Usage,
    within_shares,
)
from actors.domain.ids import DeploymentId, FlowRunId
from actors.domain.model import FlowRun
from actors.domain.process import MemorySample
from actors.messages.dispatcher import MAX_RUNS_PER_POLL, DueRuns, Share
from tests.support.builders import POOL, a_run

NOW = 1000.0


def admission_control(limit: int | None = None) -> AdmissionControl:
    return AdmissionControl(limit=limit, memory_pause_percent=90.0)


def due_runs(runs: Iterable[FlowRun], *, asked_at: float = NOW) -> DueRuns:
    return DueRuns(runs=tuple(runs), pool=POOL, asked_at=asked_at)


def candidates(
    admission: AdmissionControl,
    due: Iterable[FlowRun],
    *,
    active: Iterable[FlowRunId] = (),
    asked_at: float = NOW,
    now: float = NOW,
) -> list[str]:
    usage = Usage(run_ids=frozenset(active))
    admission.capacity(usage, now=now)
    found = admission.candidates(due_runs(due, asked_at=asked_at), usage, now=now)
    return [run.id for run in found]


@pytest.mark.parametrize(
    ("limit", "in_use", "open_claims", "ask_for"),
    [
        (None, 0, 0, MAX_RUNS_PER_POLL),
        (5, 0, 0, 5),
        (8, 3, 3, 8),
        (2, 2, 0, 1),
        (2, 4, 0, 1),
        (500, 0, 0, MAX_RUNS_PER_POLL),
    ],
)
def test_how_many_runs_to_ask_for(
    limit: int | None, in_use: int, open_claims: int, ask_for: int
) -> None:
    usage = Usage(slots_in_use=in_use, open_claims=open_claims)
    assert admission_control(limit).capacity(usage, now=NOW).ask_for == ask_for


@given(
    free_slots=st.integers(1, 50),
    claimed=st.integers(0, 50),
    held_back=st.integers(0, 50),
    waiting=st.integers(1, 100),
)
def test_runs_that_cannot_be_admitted_never_starve_those_behind_them(
    free_slots: int, claimed: int, held_back: int, waiting: int
) -> None:
    admission = admission_control(claimed + free_slots)
    active = frozenset(FlowRunId(f"claimed-{n}") for n in range(claimed))
    held = [FlowRunId(f"held-{n}") for n in range(held_back)]
    for id in held:
        admission.settled(id, was_refused=True, now=NOW - 1)
    fresh = [f"fresh-{n}" for n in range(waiting)]
    queue = [a_run(id) for id in (*active, *held, *fresh)]
    usage = Usage(run_ids=active, open_claims=claimed, slots_in_use=claimed)
    answer = queue[: admission.capacity(usage, now=NOW).ask_for]
    admitted = admission.admit(due_runs(answer), usage, now=NOW).runs
    assert [run.id for run in admitted] == fresh[:free_slots]


def test_a_claimed_run_that_is_listed_again_is_asked_for_on_top() -> None:
    admission = admission_control(2)
    ours = frozenset({FlowRunId("ours")})
    usage = Usage(run_ids=ours, claimed_ids=ours, slots_in_use=1)
    assert admission.admit(due_runs([a_run("ours")]), usage, now=NOW).runs == []
    assert admission.capacity(usage, now=NOW).ask_for == 2


def test_reaching_the_limit_is_news_until_all_that_wait_are_admitted() -> None:
    admission = admission_control(1)
    due = due_runs([a_run("a"), a_run("b")])
    first = admission.admit(due, Usage(), now=NOW)
    assert ([run.id for run in first.runs], first.limit_reached) == (["a"], True)
    assert admission.left_some_waiting
    assert admission.left_promising_waiting
    assert not admission.admit(due, Usage(slots_in_use=1), now=NOW).limit_reached
    assert not admission.admit(due_runs([a_run("b")]), Usage(), now=NOW).limit_reached
    assert admission.admit(due, Usage(), now=NOW).limit_reached


def test_nothing_is_admitted_while_memory_is_short() -> None:
    admission = admission_control(5)
    assert admission.measured(MemorySample(host_percent=95.0))
    assert not admission.measured(MemorySample(host_percent=95.0))
    assert admission.admit(due_runs([a_run("a")]), Usage(), now=NOW).runs == []
    assert admission.capacity(Usage(), now=NOW).ask_for == 1
    assert admission.measured(MemorySample(host_percent=50.0))
    assert admission.slots_free(Usage()) == 5


def test_a_run_listed_twice_is_wanted_once_and_order_is_kept() -> None:
    assert candidates(admission_control(), [a_run("b"), a_run("a"), a_run("b")]) == ["b", "a"]


def test_a_run_settled_since_the_poll_was_sent_is_listed_by_mistake() -> None:
    admission = admission_control()
    admission.settled(FlowRunId("a"), was_refused=False, now=NOW)
    assert candidates(admission, [a_run("a")], asked_at=NOW) == []
    assert candidates(admission, [a_run("a")], asked_at=NOW + 0.1) == ["a"]


def test_what_was_refused_waits_and_then_comes_last_until_that_is_forgotten() -> None:
    admission = admission_control()
    admission.settled(FlowRunId("a"), was_refused=True, now=NOW)
    due = [a_run("a"), a_run("b")]

    def after(seconds: float) -> list[str]:
        return candidates(admission, due, asked_at=NOW + seconds, now=NOW + seconds)

    assert after(HELD_BACK_SECONDS - 0.1) == ["b"]
    assert after(HELD_BACK_SECONDS) == ["b", "a"]
    assert after(REMEMBERED_SECONDS) == ["a", "b"]


def test_runs_of_a_full_deployment_come_after_those_of_others() -> None:
    admission = admission_control()
    full, other = DeploymentId("full"), DeploymentId("other")
    admission.settled(FlowRunId("refused"), was_refused=True, now=NOW - 1)
    due = [
        a_run("refused", deployment_id=full),
        a_run("next", deployment_id=full),
        a_run("of another", deployment_id=other),
        a_run("of none", deployment_id=None),
    ]
    assert candidates(admission, due) == ["of another", "of none", "next"]
    capacity = admission.capacity(Usage(), now=NOW)
    assert capacity.full_deployments == {full}
    assert [capacity.is_promising(run) for run in due] == [False, False, True, True]
    assert candidates(admission, due[1:]) == ["next", "of another", "of none"]
    assert not admission.capacity(Usage(), now=NOW).full_deployments


def test_a_run_that_was_lost_to_another_worker_says_nothing_of_its_deployment() -> None:
    admission = admission_control()
    admission.settled(FlowRunId("lost"), was_refused=True, now=NOW)
    listed_before_that = [a_run("lost"), a_run("next")]
    assert candidates(admission, listed_before_that, asked_at=NOW - 1) == ["next"]
    assert not admission.capacity(Usage(), now=NOW).full_deployments


@pytest.mark.parametrize(
    ("limit", "number"),
    [(None, MAX_RUNS_PER_POLL), (3, 3), (0, 0), (1000, MAX_RUNS_PER_POLL)],
)
def test_how_many_promising_runs_are_enough(limit: int | None, number: int) -> None:
    assert admission_control(limit).capacity(Usage(), now=NOW).enough == number


def share(room: int, *runs: str) -> Share:
    return Share(runs=frozenset(map(FlowRunId, runs)), room=room)


@pytest.mark.parametrize(
    ("shares", "active", "allowed"),
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
    shares: list[Share], active: str, allowed: str
) -> None:
    runs = [a_run(id) for id in "abcd"]
    claimed = frozenset(map(FlowRunId, active))
    assert [run.id for run in within_shares(shares, runs, claimed)] == list(allowed)
