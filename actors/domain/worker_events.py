"""The five events of a process worker, with the names and resources that Prefect's worker uses.

Ids and times are passed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from .model import Deployment, Flow, FlowRun, Resource, WorkerEvent, WorkPool
from .record import Reason

FOLLOWS_WITHIN: Final = timedelta(minutes=5)
"""Servers ignore ``follows`` if the two events are further apart."""

MAX_RELATED: Final = 100
"""Servers from 3.8 on reject an event with more related resources."""


class Preceding(NamedTuple):
    """The event that another one follows: its id and when it occurred."""

    id: str
    occurred: datetime


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
    objects = [
        _related("deployment", deployment.id, deployment.name) if deployment else None,
        _related("flow", flow.id, flow.name) if flow else None,
        _related("flow-run", run.id, run.name),
    ]
    leading = [resource for resource in objects if resource is not None]
    trailing = pool_related(pool)
    tags = _tags(tag for holder in (deployment, flow, run) if holder for tag in holder.tags)
    room = MAX_RELATED - len(leading) - len(trailing)
    return (*leading, *tags[:room], *trailing)


def pool_related(pool: WorkPool | None) -> tuple[Resource, ...]:
    """The related resources of the events about the worker itself."""
    return (_related("work-pool", pool.id, pool.name),) if pool else ()


def started(
    worker: Resource, pool: WorkPool | None, *, id: str, occurred: datetime
) -> WorkerEvent:
    """The worker has started."""
    return WorkerEvent(
        id=id,
        event="prefect.worker.started",
        occurred=occurred,
        resource=worker,
        related=pool_related(pool),
    )


def stopped(start: WorkerEvent, *, id: str, occurred: datetime) -> WorkerEvent:
    """The worker that emitted ``start`` has stopped."""
    return WorkerEvent(
        id=id,
        event="prefect.worker.stopped",
        occurred=occurred,
        resource=start.resource,
        related=start.related,
        follows=_follows(Preceding(start.id, start.occurred), occurred),
    )


def submitted(
    worker: Resource, related: tuple[Resource, ...], *, id: str, occurred: datetime
) -> WorkerEvent:
    """A run is about to start; ``related`` comes from :func:`run_related`."""
    return WorkerEvent(
        id=id,
        event="prefect.worker.submitted-flow-run",
        occurred=occurred,
        resource=worker,
        related=related,
    )


def executed(
    worker: Resource,
    related: tuple[Resource, ...],
    *,
    id: str,
    occurred: datetime,
    pid: int | None,
    code: int | None,
    submitted: Preceding | None,
    reason: Reason | None = None,
) -> WorkerEvent:
    """A run's process has ended. Prefect's worker leaves the payload empty; ours says why."""
    return WorkerEvent(
        id=id,
        event="prefect.worker.executed-flow-run",
        occurred=occurred,
        resource=worker,
        related=_with_infrastructure(related, identifier=pid, status_code=code),
        follows=_follows(submitted, occurred),
        payload={} if reason is None else {"reason": str(reason)},
    )


def cancelled(
    worker: Resource,
    related: tuple[Resource, ...],
    *,
    id: str,
    occurred: datetime,
    infrastructure_pid: str | None,
) -> WorkerEvent:
    """A run was cancelled. Unlike :func:`executed`, this event has the whole ``host:pid``."""
    return WorkerEvent(
        id=id,
        event="prefect.worker.cancelled-flow-run",
        occurred=occurred,
        resource=worker,
        related=_with_infrastructure(related, identifier=infrastructure_pid),
    )


def _related(kind: str, id: str, name: str) -> Resource:
    return {
        "prefect.resource.id": f"prefect.{kind}.{id}",
        "prefect.resource.role": kind,
        "prefect.resource.name": name,
    }


def _tags(tags: Iterable[str]) -> list[Resource]:
    return [
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
        for tag in sorted(set(tags))
    ]


def _with_infrastructure(
    related: tuple[Resource, ...],
    *,
    identifier: int | str | None,
    status_code: int | None = None,
) -> tuple[Resource, ...]:
    facts = {
        "prefect.infrastructure.identifier": identifier,
        "prefect.infrastructure.status-code": status_code,
    }
    known = {label: str(value) for label, value in facts.items() if value is not None}
    return tuple(
        {**resource, **known} if resource["prefect.resource.role"] == "flow-run" else resource
        for resource in related
    )


def _follows(preceding: Preceding | None, occurred: datetime) -> str | None:
    if preceding is None or abs(occurred - preceding.occurred) >= FOLLOWS_WITHIN:
        return None
    return preceding.id
