"""Request bodies. Servers reject unknown keys with 422, so there are no others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from ..domain.ids import FlowRunId
from ..domain.model import Json, LogLine, Proposal, StateType, WorkerEvent

Body = dict[str, Json]

CANCELLING_FILTERS: tuple[Mapping[str, Json], ...] = (
    {"type": {"any_": [StateType.CANCELLED.value]}, "name": {"any_": ["Cancelling"]}},
    {"type": {"any_": [StateType.CANCELLING.value]}},
)
"""States of runs that are being cancelled: of old servers, and of all others."""


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _one_of(names: Collection[str]) -> Json:
    return {"name": {"any_": list(names)}}


def state_body(proposal: Proposal) -> Body:
    """``POST /flow_runs/{id}/set_state``; the transition id makes a retry harmless."""
    details = dict(proposal.details) | {"transition_id": proposal.transition_id}
    return {
        "state": {
            "type": proposal.type.value,
            "name": proposal.name,
            "message": None if proposal.message is None else _storable(proposal.message),
            "state_details": details,
            "data": proposal.data,
        },
        "force": proposal.force,
    }


def due_runs_body(queues: Collection[str], before: datetime, limit: int | None) -> Body:
    """``POST /work_pools/{name}/get_scheduled_flow_runs``; no queue names mean all queues."""
    body: Body = {"work_queue_names": list(queues), "scheduled_before": timestamp(before)}
    return body if limit is None else body | {"limit": limit}


def scheduled_body(pool: str, queue: str, before: datetime) -> Body:
    """``POST /flow_runs/filter`` for the runs of a queue, in an order without ties for paging."""
    return {
        "flow_runs": {
            "state": {"type": {"any_": [StateType.SCHEDULED.value]}},
            "next_scheduled_start_time": {"before_": timestamp(before)},
        },
        "work_pools": _one_of([pool]),
        "work_pool_queues": _one_of([queue]),
        "sort": "ID_DESC",
    }


def cancelling_body(
    state: Mapping[str, Json],
    pool: str,
    queues: Collection[str],
    excluding: Collection[FlowRunId],
) -> Body:
    """``POST /flow_runs/filter`` for one of the cancelling states."""
    runs: Body = {"state": state}
    if excluding:
        runs["id"] = {"not_any_": list(excluding)}
    body: Body = {"flow_runs": runs, "work_pools": _one_of([pool])}
    return body | {"work_pool_queues": _one_of(queues)} if queues else body


def runs_body(run_ids: Collection[FlowRunId]) -> Json:
    """``POST /flow_runs/filter`` for runs by their ids, in an order without ties for paging."""
    return {
        "flow_runs": {"id": {"any_": list(run_ids)}},
        "sort": "ID_DESC",
    }


def queues_body(names: Collection[str]) -> Body:
    """``POST /work_pools/{name}/queues/filter``."""
    return {"work_queues": _one_of(names) if names else None}


def logs_body(lines: Iterable[LogLine]) -> Json:
    """``POST /logs/``: a bare array."""
    return [
        {
            "name": line.logger,
            "level": line.level,
            "message": _storable(line.message),
            "timestamp": timestamp(line.timestamp),
            "flow_run_id": line.flow_run_id,
            "task_run_id": None,
        }
        for line in lines
    ]


def events_body(events: Iterable[WorkerEvent]) -> Json:
    """``POST /events``: a bare array."""
    return [
        {
            "occurred": timestamp(event.occurred),
            "event": event.event,
            "resource": dict(event.resource),
            "related": [dict(resource) for resource in event.related],
            "payload": dict(event.payload),
            "id": event.id,
            "follows": event.follows,
        }
        for event in events
    ]


def _storable(text: str) -> str:
    """``text`` without NUL, which PostgreSQL cannot store."""
    return text.replace("\x00", "")
