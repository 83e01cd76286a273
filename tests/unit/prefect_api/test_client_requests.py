"""The request of each operation, page by page where there are pages."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest

from actors.domain.errors import InvalidRequest, NotFound
from actors.domain.ids import FlowRunId
from actors.domain.model import LogLine, WorkerEvent
from actors.prefect_api.client import PrefectApi
from actors.prefect_api.http.session import Session
from tests.support.http_server import Reply, ScriptedServer
from tests.support.manual_clock import ManualClock
from tests.unit.prefect_api.clients import run
from tests.unit.prefect_api.operations import A_RUN, NOON, READS, RUN, ask, uuid


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
