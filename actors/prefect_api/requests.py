"""Request bodies. Servers forbid unknown keys, so each has the contract's keys and no other."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from ..domain.errors import InvalidRequest
from ..domain.ids import FlowRunId
from ..domain.model import Json, LogLine, Proposal, StateType, WorkerEvent

CANCELLING_FILTERS: tuple[Mapping[str, Json], ...] = (
    {"type": {"any_": [StateType.CANCELLED.value]}, "name": {"any_": ["Cancelling"]}},
    {"type": {"any_": [StateType.CANCELLING.value]}},
)
"""States of runs that are being cancelled: as old servers name them, and as others do."""


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, as every server reads it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def state_body(proposal: Proposal) -> Json:
    """``set_state`` (contract 6.1); the transition id makes a repeat of it harmless."""
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
    """``get_scheduled_flow_runs`` (contract 5.1); no queue names mean all queues."""
    body: dict[str, Json] = {
        "work_queue_names": list(queues),
        "scheduled_before": timestamp(before),
    }
    return body if limit is None else body | {"limit": limit}


def scheduled_body(pool: str, queue: str, before: datetime, offset: int) -> Json:
    """``POST /flow_runs/filter`` for what waits in a queue; pages need an order without ties."""
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
    """``POST /flow_runs/filter`` for one of the cancelling states (contract 10.1)."""
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
    """``POST /work_pools/{name}/queues/filter`` (contract 4.4)."""
    chosen = {"name": {"any_": list(names)}} if names else None
    return {"work_queues": chosen, "offset": offset}


def logs_body(lines: Iterable[LogLine]) -> Json:
    """``POST /logs/``: a bare array of exactly these six keys (contract 11)."""
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
    """``POST /events``: an array (contract 12.1, 12.2)."""
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
    """``text`` without NUL, which a server on PostgreSQL cannot store."""
    return text.replace("\x00", "")


def encoded(body: Json) -> bytes:
    """``body`` as bytes of JSON; halves of surrogate pairs (undecodable output) replaced."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=_plain)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"what was to be sent is not JSON: {error}") from None
    return text.encode("utf-8", "replace")


def _plain(value: object) -> Json:
    """JSON for what our own types hold beside JSON: read-only mappings, tuples, moments."""
    match value:
        case Mapping():
            return dict(value)
        case datetime():
            return value.isoformat()
        case set() | frozenset() | Sequence() if not isinstance(value, bytes):
            return list(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON")
