"""Request bodies. Servers reject unknown keys with 422, so there are no others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from ..domain.ids import FlowRunId
from ..domain.model import Json, LogLine, Proposal, StateType, WorkerEvent

CANCELLING_FILTERS: tuple[Mapping[str, Json], ...] = (
    {"type": {"any_": [StateType.CANCELLED.value]}, "name": {"any_": ["Cancelling"]}},
    {"type": {"any_": [StateType.CANCELLING.value]}},
)
"""States of runs that are being cancelled: of old servers, and of all others."""


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def state_body(proposal: Proposal) -> Json:
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


def due_runs_body(queues: Collection[str], before: datetime, limit: int | None) -> Json:
    """``POST /work_pools/{name}/get_scheduled_flow_runs``; no queue names mean all queues."""
    body: dict[str, Json] = {
        "work_queue_names": list(queues),
        "scheduled_before": timestamp(before),
    }
    return body if limit is None else body | {"limit": limit}


def scheduled_body(pool: str, queue: str, before: datetime, offset: int) -> Json:
    """``POST /flow_runs/filter`` for the runs of a queue, in an order without ties for paging."""
    return {
        "flow_runs": {
            "state": {"type": {"any_": [StateType.SCHEDULED.value]}},
            "next_scheduled_start_time": {"before_": timestamp(before)},
        },
        "work_pools": {"name": {"any_": [pool]}},
        "work_pool_queues": {"name": {"any_": [queue]}},
        "sort": "ID_DESC",
        "offset": offset,
    }


def cancelling_body(
    state: Mapping[str, Json],
    pool: str,
    queues: Collection[str],
    excluding: Collection[FlowRunId],
    offset: int,
) -> Json:
    """``POST /flow_runs/filter`` for one of the cancelling states."""
    runs: dict[str, Json] = {"state": state}
    if excluding:
        runs["id"] = {"not_any_": list(excluding)}
    body: dict[str, Json] = {
        "flow_runs": runs,
        "work_pools": {"name": {"any_": [pool]}},
        "offset": offset,
    }
    if queues:
        body["work_pool_queues"] = {"name": {"any_": list(queues)}}
    return body


def queues_body(names: Collection[str], offset: int) -> Json:
    """``POST /work_pools/{name}/queues/filter``."""
    chosen = {"name": {"any_": list(names)}} if names else None
    return {"work_queues": chosen, "offset": offset}


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
