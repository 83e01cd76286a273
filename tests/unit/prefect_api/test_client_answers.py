"""What each operation makes of answers, those that no server should give included."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from actors.domain.errors import OrchestratorError, Unavailable
from actors.domain.model import (
    Deployment,
    Flow,
    FlowRun,
    State,
    Verdict,
    Wait,
    WorkPool,
    WorkQueue,
)
from actors.prefect_api.client import PrefectApi
from actors.prefect_api.models import (
    read,
    to_block_data,
    to_deployment,
    to_due_run,
    to_flow,
    to_flow_run,
    to_state,
    to_verdict,
    to_work_pool,
    to_work_queue,
)
from tests.support.http_server import Reply
from tests.unit.prefect_api.operations import A_RUN, NOON, READS, Operation, ask, uuid

GOOD_STATE = {"type": "PENDING", "name": "Pending"}


def verdict_of(answer: Any) -> Verdict:
    verdict: Verdict = ask(READS["state"], Reply(201, answer))[0]
    return verdict


@pytest.mark.parametrize("operation", READS.values(), ids=READS.keys())
@pytest.mark.parametrize(
    "answer", [None, 3, [3], [None], {"id": 3, "name": []}, [[]], {"status": "MAYBE"}, [{}]]
)
def test_wrong_json_is_no_answer(operation: Operation, answer: Any) -> None:
    with pytest.raises(Unavailable):
        ask(operation, default=Reply(200, answer))


@pytest.mark.parametrize("answer", ["ACCEPT", {}, {"status": None}])
def test_a_verdict_needs_its_status(answer: Any) -> None:
    with pytest.raises(Unavailable):
        verdict_of(answer)


@pytest.mark.parametrize("status", ["ACCEPT", "REJECT"])
def test_a_verdict_needs_the_state_it_speaks_of(status: str) -> None:
    with pytest.raises(Unavailable):
        verdict_of({"status": status, "state": None})
    with pytest.raises(Unavailable):
        verdict_of({"status": status, "state": {"type": "SUSPENDED"}})
    assert verdict_of({"status": status, "state": GOOD_STATE, "details": None})


def test_a_wait_tells_how_long() -> None:
    verdict = verdict_of({"status": "WAIT", "details": {"delay_seconds": 7, "reason": "early"}})
    assert verdict == Wait(delay_seconds=7, reason="early")
    with pytest.raises(Unavailable):
        verdict_of({"status": "WAIT", "details": {"delay_seconds": -1}})


def test_a_wait_is_an_hour_at_most() -> None:
    with capture_logs() as lines:
        verdict = verdict_of({"status": "WAIT", "details": {"delay_seconds": 1e9}})
    assert verdict == Wait(delay_seconds=3600)
    [line] = lines
    assert line["event"] == "api.told_to_wait"
    assert (line["asked_seconds"], line["granted_seconds"]) == (1e9, 3600)


def test_one_broken_run_does_not_keep_the_others_from_running() -> None:
    answer = [
        {"flow_run": A_RUN},
        {"flow_run": {"id": uuid(5)}},
        {"flow_run": A_RUN | {"state_type": "UNHEARD_OF"}},
        {"flow_run": A_RUN | {"id": uuid(6), "next_scheduled_start_time": "yesterday"}},
        {"flow_run": A_RUN | {"expected_start_time": "0001-01-01T00:00:00+23:59"}},
        {"flow_run": A_RUN | {"id": "../.."}},
        {"flow_run": A_RUN | {"id": f"{uuid(7)}\x00"}},
        {"flow_run": A_RUN | {"flow_id": "../.."}},
        {"flow_run": A_RUN | {"deployment_id": ".."}},
        {"flow_run": A_RUN | {"id": uuid(8)}},
    ]
    due, _ = ask(READS["due runs"], Reply(200, answer))
    assert [each.id for each in due.runs] == [uuid(2), uuid(8)]
    assert due.length == len(answer)


def test_broken_runs_alone_are_reported_once_and_no_reason_to_call_the_poll_failed() -> None:
    broken = [{"flow_run": A_RUN | {"id": "../.."}}, {"flow_run": {"id": uuid(5)}}]

    async def poll_twice(api: PrefectApi) -> list[FlowRun]:
        return [*(await READS["due runs"](api)).runs, *(await READS["due runs"](api)).runs]

    with capture_logs() as lines:
        runs, _ = ask(poll_twice, default=Reply(200, broken))
    assert runs == []
    assert [line["item"] for line in lines] == ["../..", uuid(5)]
    assert {line["event"] for line in lines} == {"api.item_left_out"}


def test_ids_are_written_as_servers_write_them() -> None:
    answer = [{"flow_run": A_RUN | {"id": f"{{{UUID(int=10)}}}".upper()}}]
    due, _ = ask(READS["due runs"], Reply(200, answer))
    assert [each.id for each in due.runs] == [uuid(10)]


MODELS: tuple[Callable[[Any], Any], ...] = (
    to_work_pool,
    to_work_queue,
    to_flow_run,
    to_due_run,
    to_state,
    to_deployment,
    to_flow,
    to_block_data,
    to_verdict,
)

KEYS = sorted(
    {
        field.name
        for kind in (WorkPool, WorkQueue, FlowRun, State, Deployment, Flow)
        for field in fields(kind)
    }
    | {"flow_run", "state_details", "state_type", "state_name", "expected_start_time"}
    | {"next_scheduled_start_time", "empirical_policy", "status", "reason", "delay_seconds"}
)

VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([uuid(1), "SCHEDULED", "ACCEPT", "WAIT", "9" * 30, 10**400])
)

ANSWERS = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("model", MODELS)
@given(answer=ANSWERS)
@example(answer=A_RUN | {"next_scheduled_start_time": "0001-01-01T00:00:00+23:59"})
@example(answer=A_RUN | {"next_scheduled_start_time": "9999-12-31T23:59:59-23:59"})
@example(answer=A_RUN | {"next_scheduled_start_time": 1e300, "run_count": 1e300})
def test_any_json_is_understood_or_no_answer(model: Callable[[Any], Any], answer: Any) -> None:
    with suppress(Unavailable):
        read(model, answer, "it")


def test_old_servers_leave_things_out_and_null_counts_as_left_out() -> None:
    nulls = dict.fromkeys(
        ["name", "state", "deployment_id", "job_variables", "parameters", "tags", "run_count"]
    )
    for answer in (A_RUN, A_RUN | nulls):
        due, _ = ask(READS["due runs"], Reply(200, [{"flow_run": answer}]))
        [each] = due.runs
        assert isinstance(each, FlowRun)
        assert (each.state.name, each.deployment_id, each.tags) == ("Scheduled", None, ())
        assert (each.job_variables, each.due) == ({}, None)


def test_moments_without_a_zone_are_in_utc() -> None:
    answer = [{"flow_run": A_RUN | {"expected_start_time": "2026-01-01T12:00:00"}}]
    due, _ = ask(READS["due runs"], Reply(200, answer))
    assert [each.due for each in due.runs] == [NOON]


@pytest.mark.parametrize("operation", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("status", [204, 302, 400, 401, 403, 404, 409, 418, 500, 599])
def test_whatever_the_status_errors_are_the_houses_own(operation: Operation, status: int) -> None:
    with pytest.raises(OrchestratorError):
        ask(operation, default=Reply(status, b"<html>?</html>"))
