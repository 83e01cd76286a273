"""Each operation's request, and what it makes of answers that no server should give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from actors.domain.errors import InvalidRequest, NotFound, OrchestratorError, Unavailable
from actors.domain.ids import DeploymentId, FlowId, FlowRunId, TransitionId
from actors.domain.model import (
    Deployment,
    Flow,
    FlowRun,
    LogLine,
    Proposal,
    State,
    StateType,
    Verdict,
    Wait,
    WorkerEvent,
    WorkPool,
    WorkQueue,
)
from actors.prefect_api.client import PrefectApi
from actors.prefect_api.http.session import Session
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
from tests.support.http_server import Reply, Script, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import run


def uuid(number: int) -> str:
    return str(UUID(int=number))


RUN = FlowRunId(uuid(1))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PROPOSAL = Proposal(
    type=StateType.CRASHED,
    name="Crashed",
    transition_id=TransitionId("t"),
    message="a\x00b",
    details={"scheduled_time": "x", "transition_id": "older"},
)
A_RUN: dict[str, Any] = {"id": uuid(2), "flow_id": uuid(3), "state_type": "SCHEDULED"}
GOOD_STATE = {"type": "PENDING", "name": "Pending"}

Operation = Callable[[PrefectApi], Awaitable[Any]]

READS: dict[str, Operation] = {
    "pool": lambda api: api.read_work_pool("p"),
    "new pool": lambda api: api.create_work_pool("p", "process", None),
    "queues": lambda api: api.read_work_queues("p", []),
    "due runs": lambda api: api.read_due_runs("p", [], before=NOON),
    "scheduled runs": lambda api: api.read_scheduled_runs("p", "q", before=NOON),
    "cancelling runs": lambda api: api.read_cancelling_runs("p", [], excluding=[]),
    "run": lambda api: api.read_flow_run(RUN),
    "deployment": lambda api: api.read_deployment(DeploymentId(uuid(4))),
    "flow": lambda api: api.read_flow(FlowId(uuid(3))),
    "state": lambda api: api.propose_state(RUN, PROPOSAL),
    "block": lambda api: api.read_block_by_name("secret", "b"),
    "variable": lambda api: api.read_variable("v"),
}


def ask(operation: Operation, *replies: Script, default: Script | None = None) -> Any:
    """The operation's result, and the requests that were made for it."""
    server = ScriptedServer(default=default)
    server.script(*replies)

    async def scenario(session: Session, clock: ManualClock) -> Any:
        return await operation(PrefectApi(session))

    return run(server, scenario), server.received


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


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_no_name_leads_to_another_address(name: str) -> None:
    server = ScriptedServer()

    async def scenario(session: Session, clock: ManualClock) -> None:
        api = PrefectApi(session)
        for asked in (
            api.read_work_pool(name),
            api.read_variable(name),
            api.read_block_by_name("secret", name),
            api.read_flow_run(FlowRunId(name)),
        ):
            with pytest.raises(InvalidRequest):
                await asked

    run(server, scenario)
    assert not server.received


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


def test_names_are_percent_encoded() -> None:
    _, [received] = ask(lambda api: api.send_heartbeat("a b/c?%ü", "worker", 30), Reply(204))
    assert received.path == "/api/work_pools/a%20b%2Fc%3F%25%C3%BC/workers/heartbeat"
    assert received.json == {"name": "worker", "heartbeat_interval_seconds": 30}


def test_polling_tells_queues_time_and_limit() -> None:
    paris = NOON.astimezone(timezone(timedelta(hours=1)))
    _, [received] = ask(
        lambda api: api.read_due_runs("p", ["q"], before=paris, limit=7), Reply(200, [])
    )
    assert received.json == {
        "work_queue_names": ["q"],
        "scheduled_before": "2026-01-01T12:00:00Z",
        "limit": 7,
    }
    _, [received] = ask(READS["due runs"], Reply(200, []))
    assert "limit" not in received.json


def test_a_limit_never_exceeds_the_servers() -> None:
    _, [received] = ask(
        lambda api: api.read_due_runs("p", [], before=NOON, limit=1000), Reply(200, [])
    )
    assert received.json["limit"] == 200
    refusal = Reply(422, {"detail": "Invalid limit: must be less than or equal to 50."})
    _, received = ask(
        lambda api: api.read_due_runs("p", [], before=NOON, limit=1000), refusal, Reply(200, [])
    )
    assert ["limit" in each.json for each in received] == [True, False]
    with pytest.raises(InvalidRequest):
        ask(lambda api: api.read_due_runs("p", [], before=NOON, limit=1), Reply(422, {}))


def test_an_answer_that_is_as_long_as_it_may_be_is_cut() -> None:
    answer = Reply(200, [{"flow_run": A_RUN}] * 3)

    def cut(limit: int, *replies: Reply) -> bool:
        due, _ = ask(lambda api: api.read_due_runs("p", [], before=NOON, limit=limit), *replies)
        return bool(due.may_be_cut)

    assert not cut(4, answer)
    assert cut(3, answer)
    refusal = Reply(422, {"detail": "Invalid limit: must be less than or equal to 3."})
    assert cut(4, refusal, answer)
    assert not cut(4, refusal, Reply(200, []))


def test_all_pages_of_what_waits_in_a_queue_are_read_earliest_first() -> None:
    def waiting(number: int, hour: int, **fields: Any) -> dict[str, Any]:
        due = f"2026-01-01T{hour:02}:00:00Z"
        return A_RUN | {"id": uuid(number), "next_scheduled_start_time": due, **fields}

    in_process = {"empirical_policy": {"retry_type": "in_process"}}
    rescheduled = {"empirical_policy": {"retry_type": "reschedule"}}
    runs, received = ask(
        READS["scheduled runs"],
        Reply(200, [waiting(13, 3), waiting(11, 1, **rescheduled)]),
        Reply(200, [waiting(11, 1), waiting(12, 2, **in_process), waiting(14, 2)]),
        Reply(200, []),
    )
    assert [each.id for each in runs] == [uuid(11), uuid(14), uuid(13)]
    assert [each.json["offset"] for each in received] == [0, 2, 5]
    for each in received:
        assert each.json["sort"] == "ID_DESC"
        assert each.json["flow_runs"] == {
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": "2026-01-01T12:00:00Z"},
        }
        assert each.json["work_pools"] == {"name": {"any_": ["p"]}}
        assert each.json["work_pool_queues"] == {"name": {"any_": ["q"]}}


def test_all_pages_of_runs_being_cancelled_are_read_each_run_once() -> None:
    def page(*numbers: int) -> Reply:
        runs = [A_RUN | {"id": uuid(n), "state_type": "CANCELLING"} for n in numbers]
        return Reply(200, runs)

    runs, received = ask(
        lambda api: api.read_cancelling_runs("p", ["q"], excluding=[FlowRunId("x")]),
        page(1),
        page(),
        page(1, 2),
        page(3),
        page(),
    )
    assert [each.id for each in runs] == [uuid(1), uuid(2), uuid(3)]
    assert [each.json["offset"] for each in received] == [0, 1, 0, 2, 3]
    states = [each.json["flow_runs"]["state"] for each in received]
    assert states[0] == {"type": {"any_": ["CANCELLED"]}, "name": {"any_": ["Cancelling"]}}
    assert states[2] == {"type": {"any_": ["CANCELLING"]}}
    for each in received:
        assert each.json["flow_runs"]["id"] == {"not_any_": ["x"]}
        assert each.json["work_pools"] == {"name": {"any_": ["p"]}}
        assert each.json["work_pool_queues"] == {"name": {"any_": ["q"]}}


def test_a_server_that_gives_the_same_page_for_ever_is_left() -> None:
    queues, received = ask(READS["queues"], default=Reply(200, [{"name": "default"}]))
    assert [queue.name for queue in queues] == ["default"]
    assert len(received) == 2


def test_a_proposal_has_its_transition_id_and_no_unknown_key() -> None:
    _, [received] = ask(READS["state"], Reply(200, {"status": "ABORT"}))
    assert received.json == {
        "state": {
            "type": "CRASHED",
            "name": "Crashed",
            "message": "ab",
            "state_details": {"scheduled_time": "x", "transition_id": "t"},
            "data": None,
        },
        "force": False,
    }


def test_log_lines_are_a_bare_array_of_six_keys() -> None:
    line = LogLine(flow_run_id=RUN, level=20, message="a\x00b\udc80", timestamp=NOON)
    _, [received] = ask(lambda api: api.send_logs([line]), Reply(201))
    assert received.path == "/api/logs/"
    assert received.json == [
        {
            "name": "prefect.flow_runs.worker",
            "level": 20,
            "message": "ab?",
            "timestamp": "2026-01-01T12:00:00Z",
            "flow_run_id": RUN,
            "task_run_id": None,
        }
    ]


def test_events_are_an_array_without_a_slash_in_the_path() -> None:
    event = WorkerEvent(id="e", event="x", occurred=NOON, resource={"prefect.resource.id": "r"})
    _, [received] = ask(lambda api: api.send_events([event]), Reply(204))
    assert received.path == "/api/events"
    assert received.json == [
        {
            "occurred": "2026-01-01T12:00:00Z",
            "event": "x",
            "resource": {"prefect.resource.id": "r"},
            "related": [],
            "payload": {},
            "id": "e",
            "follows": None,
        }
    ]


def test_blocks_are_read_with_their_secrets() -> None:
    data, [received] = ask(READS["block"], Reply(200, {"data": {"value": "s"}}))
    assert data == {"value": "s"}
    assert received.path.endswith(
        "/block_types/slug/secret/block_documents/name/b?include_secrets=true"
    )


def test_a_block_id_that_is_none_is_not_even_asked_for() -> None:
    with pytest.raises(NotFound):
        ask(lambda api: api.read_block_by_id("../../admin"))


def test_labels_are_no_error_where_the_route_is_missing() -> None:
    known, _ = ask(lambda api: api.add_labels(RUN, {"a": "b"}), Reply(204))
    missing, _ = ask(
        lambda api: api.add_labels(RUN, {"a": "b"}), Reply(404, {"detail": "Not Found"})
    )
    assert (known, missing) == (True, False)
    with pytest.raises(NotFound):
        ask(
            lambda api: api.add_labels(RUN, {"a": "b"}),
            Reply(404, {"exception_message": "Flow run with id x not found"}),
        )


@pytest.mark.parametrize("operation", READS.values(), ids=READS.keys())
@pytest.mark.parametrize("status", [204, 302, 400, 401, 403, 404, 409, 418, 500, 599])
def test_whatever_the_status_errors_are_the_houses_own(operation: Operation, status: int) -> None:
    with pytest.raises(OrchestratorError):
        ask(operation, default=Reply(status, b"<html>?</html>"))
