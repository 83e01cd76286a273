"""The operations of a Prefect server, over HTTP."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import quote
from uuid import UUID

import structlog

from ..domain.errors import InvalidRequest, NotFound, Unavailable
from ..domain.ids import DeploymentId, FlowId, FlowRunId
from ..domain.model import (
    Deployment,
    DueListing,
    Flow,
    FlowRun,
    Json,
    LogLine,
    Proposal,
    State,
    Verdict,
    Wait,
    WorkerEvent,
    WorkPool,
    WorkQueue,
)
from .http.concurrency import Priority
from .http.responses import RouteMissing
from .http.retry import LONGEST_WAIT
from .http.session import Session
from .models import (
    ListReader,
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
from .requests import (
    CANCELLING_FILTERS,
    cancelling_body,
    due_runs_body,
    events_body,
    logs_body,
    queues_body,
    runs_body,
    scheduled_body,
    state_body,
)

_log = structlog.get_logger(__name__)

MAX_LIMIT: Final = 200
"""The largest ``limit`` that servers accept, unless they are told otherwise."""

SUBMITTING_SINCE: Final = (3, 6, 22)
"""The first server and worker of Prefect's that know this state."""

MAX_PAGES: Final = 500
"""More pages mean that the listing never ends."""


class PrefectApi:
    """The :class:`~actors.domain.ports.Orchestrator` that speaks to a Prefect server.

    Who made the session closes it.
    """

    def __init__(self, session: Session) -> None:
        self._request = session.request
        self._lists = ListReader()
        self._version: tuple[int, ...] = ()

    async def read_work_pool(self, name: str) -> WorkPool:
        path = f"/work_pools/{_part(name)}"
        answer = await self._request("GET", path, priority=Priority.VITAL)
        return read(to_work_pool, answer, f"work pool {name!r}")

    async def create_work_pool(
        self, name: str, type: str, base_job_template: Mapping[str, Json] | None
    ) -> WorkPool:
        """Without a template the server stores ``{}``."""
        body: dict[str, Json] = {"name": name, "type": type}
        if base_job_template is not None:
            body["base_job_template"] = base_job_template
        answer = await self._request("POST", "/work_pools/", body=body, priority=Priority.VITAL)
        return read(to_work_pool, answer, f"new work pool {name!r}")

    async def update_base_job_template(self, name: str, template: Mapping[str, Json]) -> None:
        path = f"/work_pools/{_part(name)}"
        body = {"base_job_template": template}
        await self._request("PATCH", path, body=body, priority=Priority.VITAL)

    async def read_work_queues(self, pool: str, names: Collection[str]) -> list[WorkQueue]:
        path = f"/work_pools/{_part(pool)}/queues/filter"
        pages = await self._pages(path, queues_body(names))
        return self._lists.read(to_work_queue, pages, f"queues of work pool {pool!r}")

    async def send_heartbeat(self, pool: str, worker: str, interval_seconds: int) -> None:
        body = {"name": worker, "heartbeat_interval_seconds": int(interval_seconds)}
        path = f"/work_pools/{_part(pool)}/workers/heartbeat"
        await self._request("POST", path, body=body, priority=Priority.VITAL)

    async def read_due_runs(
        self, pool: str, queues: Collection[str], *, before: datetime, limit: int | None = None
    ) -> DueListing:
        path = f"/work_pools/{_part(pool)}/get_scheduled_flow_runs"
        capped = None if limit is None else min(limit, MAX_LIMIT)
        body = due_runs_body(queues, before, capped)
        try:
            answer = await self._request("POST", path, body=body, priority=Priority.VITAL)
        except InvalidRequest as error:
            if capped is None or "Invalid limit" not in str(error):
                raise
            # PREFECT_SERVER_API_DEFAULT_LIMIT is lower there: let the server choose.
            capped = None
            body = due_runs_body(queues, before, None)
            answer = await self._request("POST", path, body=body, priority=Priority.VITAL)
        runs = self._lists.read(to_due_run, answer, f"due runs of work pool {pool!r}")
        # How many fit into an answer whose length the server chooses is not known.
        may_be_cut = len(answer) > 0 if capped is None else len(answer) >= capped
        return DueListing(runs=tuple(runs), length=len(answer), may_be_cut=may_be_cut)

    async def read_scheduled_runs(
        self, pool: str, queue: str, *, before: datetime
    ) -> list[FlowRun]:
        body = scheduled_body(pool, queue, before)
        pages = await self._pages("/flow_runs/filter", body)
        what = f"scheduled runs of work queue {queue!r}"
        runs = {run.id: run for run in self._lists.read(to_flow_run, pages, what)}
        waiting = [run for run in runs.values() if not run.retries_in_process]
        return sorted(waiting, key=lambda run: run.due or before)

    async def read_cancelling_runs(
        self, pool: str, queues: Collection[str], *, excluding: Collection[FlowRunId]
    ) -> list[FlowRun]:
        found: dict[FlowRunId, FlowRun] = {}
        for state in CANCELLING_FILTERS:
            body = cancelling_body(state, pool, queues, excluding)
            pages = await self._pages("/flow_runs/filter", body)
            runs = self._lists.read(to_flow_run, pages, "runs that are being cancelled")
            found |= {run.id: run for run in runs}
        return list(found.values())

    async def read_flow_run(self, run_id: FlowRunId) -> FlowRun:
        path = f"/flow_runs/{_part(run_id)}"
        answer = await self._request("GET", path, priority=Priority.STATE)
        return read(to_flow_run, answer, f"flow run {run_id}")

    async def missing_runs(self, run_ids: Collection[FlowRunId]) -> frozenset[FlowRunId]:
        """What a list leaves out is asked for by its id: much follows from that it is deleted."""
        pages = await self._pages("/flow_runs/filter", runs_body(run_ids))
        listed = {str(run["id"]) for run in pages if isinstance(run, dict) and "id" in run}
        missing = set()
        for run_id in frozenset(run_ids) - listed:
            try:
                await self.read_flow_run(run_id)
            except NotFound:
                missing.add(run_id)
        return frozenset(missing)

    async def read_history(self, run_id: FlowRunId) -> list[State]:
        answer = await self._request("GET", f"/flow_run_states/?flow_run_id={_part(run_id)}")
        return self._lists.read(to_state, answer, f"states of flow run {run_id}")

    async def read_deployment(self, deployment_id: DeploymentId) -> Deployment:
        answer = await self._request("GET", f"/deployments/{_part(deployment_id)}")
        return read(to_deployment, answer, f"deployment {deployment_id}")

    async def read_flow(self, flow_id: FlowId) -> Flow:
        answer = await self._request("GET", f"/flows/{_part(flow_id)}")
        return read(to_flow, answer, f"flow {flow_id}")

    async def propose_state(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        path = f"/flow_runs/{_part(run_id)}/set_state"
        body = state_body(proposal)
        answer = await self._request("POST", path, body=body, priority=Priority.STATE)
        verdict = read(to_verdict, answer, f"state of flow run {run_id}")
        if isinstance(verdict, Wait) and verdict.delay_seconds > LONGEST_WAIT:
            _log.warning(
                "api.told_to_wait",
                flow_run_id=run_id,
                asked_seconds=verdict.delay_seconds,
                granted_seconds=LONGEST_WAIT,
            )
            return replace(verdict, delay_seconds=LONGEST_WAIT)
        return verdict

    async def knows_submitting(self) -> bool:
        """The server is asked for its version once."""
        if not self._version:
            self._version = _numbers(await self._request("GET", "/admin/version"))
        return self._version >= SUBMITTING_SINCE

    async def set_infrastructure_pid(self, run_id: FlowRunId, infrastructure_pid: str) -> None:
        path = f"/flow_runs/{_part(run_id)}"
        body = {"infrastructure_pid": infrastructure_pid}
        await self._request("PATCH", path, body=body, priority=Priority.DETAIL)

    async def add_labels(self, run_id: FlowRunId, labels: Mapping[str, str]) -> bool:
        """Servers before 3.1.x do not have this route."""
        path = f"/flow_runs/{_part(run_id)}/labels"
        try:
            await self._request("PATCH", path, body=labels, priority=Priority.DETAIL)
        except RouteMissing:
            return False
        return True

    async def read_block_by_name(self, type_slug: str, name: str) -> Json:
        path = f"/block_types/slug/{_part(type_slug)}/block_documents/name/{_part(name)}"
        return await self._read_block(path, f"block {type_slug}/{name}")

    async def read_block_by_id(self, block_document_id: str) -> Json:
        try:
            UUID(block_document_id)
        except ValueError:
            # The server would answer that there is no such route.
            raise NotFound(f"no block document has the id {block_document_id!r}") from None
        path = f"/block_documents/{_part(block_document_id)}"
        return await self._read_block(path, f"block {block_document_id}")

    async def _read_block(self, path: str, what: str) -> Json:
        answer = await self._request("GET", path, query={"include_secrets": "true"})
        return read(to_block_data, answer, what)

    async def read_variable(self, name: str) -> Json:
        answer = await self._request("GET", f"/variables/name/{_part(name)}")
        if not isinstance(answer, dict) or "value" not in answer:
            raise Unavailable(f"variable {name!r}: the answer holds no value")
        return answer["value"]

    async def send_logs(self, lines: Sequence[LogLine]) -> None:
        if lines:
            body = logs_body(lines)
            await self._request("POST", "/logs/", body=body, priority=Priority.DETAIL)

    async def send_events(self, events: Sequence[WorkerEvent]) -> None:
        """Unlike other collections, this one has no slash at the end of its path."""
        if events:
            body = events_body(events)
            await self._request("POST", "/events", body=body, priority=Priority.DETAIL)

    async def _pages(self, path: str, body: Mapping[str, Json]) -> list[Json]:
        """The items of all pages, whose size the server chooses."""
        items: list[Json] = []
        page: Json = None
        for _ in range(MAX_PAGES):
            before = page
            part = {**body, "offset": len(items)}
            page = await self._request("POST", path, body=part, priority=Priority.VITAL)
            if not isinstance(page, list):
                raise Unavailable(f"POST {path}: the answer is not a list")
            if not page or page == before:
                break
            items += page
        return items


def _numbers(version: Json) -> tuple[int, ...]:
    """3, 6 and 22 of "3.6.22" and of "3.6.22+5.g1a2b3c4"."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version) if isinstance(version, str) else None
    if found is None:
        raise Unavailable("the server's version has an unknown form")
    return tuple(map(int, found.groups()))


def _part(text: str) -> str:
    """``text`` as one part of a path, whatever characters it has.

    InvalidRequest: it would be another path. "." and ".." are so even when they are encoded.
    """
    if text in ("", ".", ".."):
        raise InvalidRequest(f"nothing on a server can be called {text!r}")
    return quote(text, safe="")
