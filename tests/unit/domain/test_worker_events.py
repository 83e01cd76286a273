from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors.domain import worker_events
from actors.domain.ids import new_transition_id
from actors.domain.model import Resource, WorkerEvent
from actors.domain.process import ExitStatus
from actors.domain.record import Reason, RunRecord
from actors.domain.run import new_run
from actors.domain.worker_events import (
    MAX_RELATED,
    EventKind,
    run_event,
    run_related,
    worker_resource,
)
from tests.support.builders import DEPLOYMENT, FLOW, POOL, a_run

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
WORKER = worker_resource("Cap Worker", "cap-worker", "3.8.8")
POOL_RESOURCE = {
    "prefect.resource.id": "prefect.work-pool.pool-id",
    "prefect.resource.role": "work-pool",
    "prefect.resource.name": "cap-pool",
}
RUN_RESOURCE = {
    "prefect.resource.id": "prefect.flow-run.run-id",
    "prefect.resource.role": "flow-run",
    "prefect.resource.name": "spirited-cuckoo",
}
RELATED = run_related(run=a_run(), deployment=DEPLOYMENT, flow=FLOW, pool=POOL)


def tag(name: str) -> dict[str, str]:
    return {"prefect.resource.id": f"prefect.tag.{name}", "prefect.resource.role": "tag"}


def run_resource(related: tuple[Resource, ...]) -> Resource:
    return next(r for r in related if r["prefect.resource.role"] == "flow-run")


def test_the_worker_as_a_resource() -> None:
    assert WORKER == {
        "prefect.resource.id": "prefect.worker.process.cap-worker",
        "prefect.resource.name": "Cap Worker",
        "prefect.version": "3.8.8",
        "prefect.worker-type": "process",
    }


def test_what_a_runs_events_relate_to_and_in_which_order() -> None:
    assert (
        {
            "prefect.resource.id": "prefect.deployment.deployment-id",
            "prefect.resource.role": "deployment",
            "prefect.resource.name": "d-run",
        },
        {
            "prefect.resource.id": "prefect.flow.flow-id",
            "prefect.resource.role": "flow",
            "prefect.resource.name": "hello",
        },
        RUN_RESOURCE,
        tag("alpha"),
        tag("beta"),
        tag("gamma"),
        POOL_RESOURCE,
    ) == RELATED


def test_what_is_not_known_is_left_out() -> None:
    related = run_related(run=a_run(tags=()), deployment=None, flow=None, pool=None)
    assert related == (RUN_RESOURCE,)


def test_there_are_never_more_than_servers_accept() -> None:
    run = a_run(tags=tuple(f"t{n}" for n in range(300)))
    related = run_related(run=run, deployment=DEPLOYMENT, flow=FLOW, pool=POOL)
    assert len(related) == MAX_RELATED
    assert related[-1] == POOL_RESOURCE


def test_started_and_stopped() -> None:
    started = worker_events.started(WORKER, POOL, id="1", occurred=NOW)
    assert (started.event, started.follows) == ("prefect.worker.started", None)
    assert (started.id, started.occurred, started.resource) == ("1", NOW, WORKER)
    assert (started.related, started.payload) == ((POOL_RESOURCE,), {})
    stopped = worker_events.stopped(started, id="2", occurred=NOW + timedelta(minutes=1))
    assert stopped == replace(
        started,
        id="2",
        event="prefect.worker.stopped",
        occurred=NOW + timedelta(minutes=1),
        follows="1",
    )


def test_a_worker_that_never_saw_its_pool_relates_to_nothing() -> None:
    assert worker_events.started(WORKER, None, id="1", occurred=NOW).related == ()


def record(**changes: Any) -> RunRecord:
    run = new_run(a_run(), worker="w", transition=new_transition_id())
    return replace(run.record, related=RELATED, **changes)


def event_of(kind: EventKind, record: RunRecord) -> WorkerEvent:
    return run_event(kind, record, worker=WORKER, hostname="worker-host", occurred=NOW)


def test_submitted() -> None:
    event = event_of(EventKind.SUBMITTED, record())
    assert (event.event, event.related) == ("prefect.worker.submitted-flow-run", RELATED)
    assert (event.resource, event.occurred, event.follows) == (WORKER, NOW, None)


def test_executed_tells_pid_and_exit_code_of_the_run_alone() -> None:
    ended = record(
        pid=17097,
        exit=ExitStatus(code=-9),
        reason=Reason.FAILED,
        submitted_at=NOW - timedelta(seconds=5),
    )
    event = event_of(EventKind.EXECUTED, ended)
    assert event.event == "prefect.worker.executed-flow-run"
    assert event.follows == event_of(EventKind.SUBMITTED, ended).id
    assert event.payload == {"reason": "failed"}
    assert run_resource(event.related) == {
        **RUN_RESOURCE,
        "prefect.infrastructure.identifier": "17097",
        "prefect.infrastructure.status-code": "-9",
    }
    assert event.related[:2] == RELATED[:2]
    assert event.related[3:] == RELATED[3:]


def test_a_repeated_event_is_the_same() -> None:
    claim = record(pid=5)
    assert event_of(EventKind.EXECUTED, claim) == event_of(EventKind.EXECUTED, claim)


def test_a_lost_exit_code_is_not_made_up() -> None:
    event = event_of(EventKind.EXECUTED, record(pid=5, exit=ExitStatus(code=None)))
    assert run_resource(event.related) == {
        **RUN_RESOURCE,
        "prefect.infrastructure.identifier": "5",
    }


@pytest.mark.parametrize("said", [{"reported": "Completed"}, {"acknowledged": True}])
def test_what_an_engine_has_concluded_is_no_failure(said: dict[str, Any]) -> None:
    event = event_of(EventKind.EXECUTED, record(pid=5, exit=ExitStatus(code=7, **said)))
    assert run_resource(event.related)["prefect.infrastructure.status-code"] == "0"


def test_cancelled_tells_the_whole_infrastructure_pid() -> None:
    event = event_of(EventKind.CANCELLED, record(pid=19988))
    assert event.event == "prefect.worker.cancelled-flow-run"
    assert event.follows is None
    assert run_resource(event.related) == {
        **RUN_RESOURCE,
        "prefect.infrastructure.identifier": "worker-host:19988",
    }


@pytest.mark.parametrize(
    ("apart", "follows"),
    [
        (timedelta(minutes=4, seconds=59), True),
        (timedelta(minutes=5), False),
        (timedelta(minutes=-4), True),
        (timedelta(minutes=-5), False),
    ],
)
def test_an_event_follows_another_only_within_five_minutes(
    apart: timedelta, follows: bool
) -> None:
    event = event_of(EventKind.EXECUTED, record(submitted_at=NOW - apart))
    assert (event.follows is not None) == follows
