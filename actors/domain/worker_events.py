"""The events of a process worker, with the names and resources that Prefect's worker uses."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from .model import Deployment, Flow, FlowRun, Resource, WorkerEvent, WorkPool
from .record import RunRecord
from .server_events import LISTENING

FOLLOWS_WITHIN: Final = timedelta(minutes=5)
"""Servers ignore ``follows`` if the two events are further apart."""

MAX_RELATED: Final = 100
"""Servers from 3.8 on reject an event with more related resources."""


class EventKind(StrEnum):
    """The worker events about a flow run."""

    SUBMITTED = "submitted"
    EXECUTED = "executed"
    CANCELLED = "cancelled"


def worker_resource(name: str, slug: str, version: str) -> Resource:
    """The resource of the worker's events.

    ``slug`` is the worker's name as python-slugify writes it, ``version`` the Prefect version
    whose worker this one stands in for.
    """
    return {
        "prefect.resource.id": f"prefect.worker.process.{slug}",
        "prefect.resource.name": name,
        "prefect.version": version,
        "prefect.worker-type": "process",
    }


def run_related(
    *,
    run: FlowRun,
    deployment: Deployment | None,
    flow: Flow | None,
    pool: WorkPool | None,
) -> tuple[Resource, ...]:
    """The related resources of a run's events: deployment, flow, run, their tags in order, pool.

    Tags beyond MAX_RELATED are left out.
    """
    leading = [
        _related(kind, thing.id, thing.name)
        for kind, thing in (("deployment", deployment), ("flow", flow), ("flow-run", run))
        if thing is not None
    ]
    trailing = _pool(pool)
    tags = sorted({tag for holder in (deployment, flow, run) if holder for tag in holder.tags})
    tags = tags[: MAX_RELATED - len(leading) - len(trailing)]
    return (*leading, *map(_tag, tags), *trailing)


def started(
    worker: Resource, pool: WorkPool | None, *, id: str, occurred: datetime
) -> WorkerEvent:
    """The worker has started."""
    return WorkerEvent(
        id=id,
        event="prefect.worker.started",
        occurred=occurred,
        resource=worker,
        related=_pool(pool),
    )


def stopped(start: WorkerEvent, *, id: str, occurred: datetime) -> WorkerEvent:
    """The worker that emitted ``start`` has stopped."""
    return replace(
        start,
        id=id,
        event="prefect.worker.stopped",
        occurred=occurred,
        follows=_follows(start.id, start.occurred, occurred),
    )


def listening(worker: Resource, pool: WorkPool, *, id: str, occurred: datetime) -> WorkerEvent:
    """The worker listens to the events of ``pool``. Prefect's worker emits nothing like it."""
    return WorkerEvent(
        id=id, event=LISTENING, occurred=occurred, resource=worker, related=_pool(pool)
    )


def run_event(
    kind: EventKind, record: RunRecord, *, worker: Resource, hostname: str, occurred: datetime
) -> WorkerEvent:
    """The event of ``kind`` about the run of ``record``.

    It is made of the record alone and its id follows from the claim, so that the next worker
    emits the same event and not a second one. Of ``executed``, Prefect's worker leaves the
    payload empty; ours names the reason. Only ``cancelled`` has the whole ``host:pid``.
    """
    facts: dict[str, object] = {}
    follows: str | None = None
    payload: dict[str, str] = {}
    match kind:
        case EventKind.EXECUTED:
            facts["identifier"] = record.pid
            facts["status-code"] = record.exit.status_code if record.exit else None
            follows = _follows(
                _event_id(EventKind.SUBMITTED, record), record.submitted_at, occurred
            )
            payload = {"reason": str(record.reason)} if record.reason else {}
        case EventKind.CANCELLED:
            facts["identifier"] = f"{hostname}:{record.pid}" if record.pid is not None else None
    known = {f"prefect.infrastructure.{k}": str(v) for k, v in facts.items() if v is not None}
    return WorkerEvent(
        id=_event_id(kind, record),
        event=f"prefect.worker.{kind}-flow-run",
        occurred=occurred,
        resource=worker,
        related=tuple(
            {**resource, **known} if resource["prefect.resource.role"] == "flow-run" else resource
            for resource in record.related
        ),
        follows=follows,
        payload=payload,
    )


def _event_id(kind: EventKind, record: RunRecord) -> str:
    return str(uuid.uuid5(uuid.UUID(record.claim), f"event {kind}"))


def _related(kind: str, id: str, name: str) -> Resource:
    return {
        "prefect.resource.id": f"prefect.{kind}.{id}",
        "prefect.resource.role": kind,
        "prefect.resource.name": name,
    }


def _pool(pool: WorkPool | None) -> tuple[Resource, ...]:
    return (_related("work-pool", pool.id, pool.name),) if pool else ()


def _tag(tag: str) -> Resource:
    return {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}


def _follows(id: str, preceded: datetime | None, occurred: datetime) -> str | None:
    """The event before this one, unless it is unknown or too far away for servers."""
    if preceded is None or abs(occurred - preceded) >= FOLLOWS_WITHIN:
        return None
    return id
