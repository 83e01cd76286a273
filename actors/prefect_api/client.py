"""A Prefect server as the rest of the house sees it: one method per operation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
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
from .http.retry import LONGEST_WAIT
from .http.session import Session
from .models import (
    WireBlock,
    WireDeployment,
    WireDueRun,
    WireFlow,
    WirePool,
    WireQueue,
    WireRun,
    WireState,
    WireVerdict,
    retries_in_process,
)
from .reading import ListReader, read
from .requests import (
    CANCELLING_FILTERS,
    cancelling_body,
    due_runs_body,
    events_body,
    logs_body,
    queues_body,
    scheduled_body,
    state_body,
)
from .responses import RouteMissing

_log = structlog.get_logger(__name__)

MAX_LIMIT: Final = 200
"""The largest ``limit`` that servers accept, unless they are told otherwise."""

MAX_PAGES: Final = 500
"""Pages after which a listing is taken for endless."""


class PrefectApi:
    """The :class:`~actors.domain.ports.Orchestrator` that speaks to a Prefect server.

    The session is not closed with it: whoever made it does that.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lists = ListReader()

    async def read_work_pool(self, name: str) -> WorkPool:
        """``GET /work_pools/{name}``."""
        answer = await self._session.request(
            "GET", f"/work_pools/{_part(name)}", priority=Priority.VITAL
        )
        return read(WirePool, WirePool.pool, answer, f"work pool {name!r}")

    async def create_work_pool(
        self, name: str, type: str, base_job_template: Mapping[str, Json] | None
    ) -> WorkPool:
        """``POST /work_pools/``; without a template the server stores ``{}``."""
        body: dict[str, Json] = {"name": name, "type": type}
        if base_job_template is not None:
            body["base_job_template"] = base_job_template
        answer = await self._session.request(
            "POST", "/work_pools/", body=body, priority=Priority.VITAL
        )
        return read(WirePool, WirePool.pool, answer, f"new work pool {name!r}")

    async def update_base_job_template(self, name: str, template: Mapping[str, Json]) -> None:
        """``PATCH /work_pools/{name}``."""
        path = f"/work_pools/{_part(name)}"
        await self._session.request(
            "PATCH", path, body={"base_job_template": template}, priority=Priority.VITAL
        )

    async def read_work_queues(self, pool: str, names: Collection[str]) -> list[WorkQueue]:
        """``POST /work_pools/{pool}/queues/filter``, all pages."""
        path = f"/work_pools/{_part(pool)}/queues/filter"
        pages = await self._pages(path, partial(queues_body, names))
        return self._lists.read(WireQueue, WireQueue.queue, pages, f"queues of work pool {pool!r}")

    async def send_heartbeat(self, pool: str, worker: str, interval_seconds: int) -> None:
        """``POST /work_pools/{pool}/workers/heartbeat``."""
        body = {"name": worker, "heartbeat_interval_seconds": int(interval_seconds)}
        path = f"/work_pools/{_part(pool)}/workers/heartbeat"
        await self._session.request("POST", path, body=body, priority=Priority.VITAL)

    async def read_due_runs(
        self, pool: str, queues: Collection[str], *, before: datetime, limit: int | None = None
    ) -> DueListing:
        """``POST /work_pools/{pool}/get_scheduled_flow_runs``; at most 200 runs."""
        path = f"/work_pools/{_part(pool)}/get_scheduled_flow_runs"
        capped = None if limit is None else min(limit, MAX_LIMIT)
        try:
            answer = await self._session.request(
                "POST", path, body=due_runs_body(queues, before, capped), priority=Priority.VITAL
            )
        except InvalidRequest as error:
            # PREFECT_SERVER_API_DEFAULT_LIMIT is lower there: let the server choose.
            if capped is None or "Invalid limit" not in str(error):
                raise
            capped = None
            answer = await self._session.request(
                "POST", path, body=due_runs_body(queues, before, None), priority=Priority.VITAL
            )
        runs = self._lists.read(
            WireDueRun, WireDueRun.run, answer, f"due runs of work pool {pool!r}"
        )
        # How many fit into an answer whose length the server chooses is not known.
        may_be_cut = len(answer) > 0 if capped is None else len(answer) >= capped
        return DueListing(runs=tuple(runs), length=len(answer), may_be_cut=may_be_cut)

    async def read_scheduled_runs(
        self, pool: str, queue: str, *, before: datetime
    ) -> list[FlowRun]:
        """``POST /flow_runs/filter``, all pages."""
        body = partial(scheduled_body, pool, queue, before)
        pages = await self._pages("/flow_runs/filter", body)
        what = f"scheduled runs of work queue {queue!r}"
        runs = {run.id: run for run in self._lists.read(WireRun, WireRun.run, pages, what)}
        waiting = [run for run in runs.values() if not retries_in_process(run)]
        return sorted(waiting, key=lambda run: run.due or before)

    async def read_cancelling_runs(
        self, pool: str, queues: Collection[str], *, excluding: Collection[FlowRunId]
    ) -> list[FlowRun]:
        """``POST /flow_runs/filter`` with both filters, all pages, each run once."""
        found: dict[FlowRunId, FlowRun] = {}
        for state in CANCELLING_FILTERS:
            body = partial(cancelling_body, state, pool, queues, excluding)
            pages = await self._pages("/flow_runs/filter", body)
            runs = self._lists.read(WireRun, WireRun.run, pages, "runs that are being cancelled")
            found |= {run.id: run for run in runs}
        return list(found.values())

    async def read_flow_run(self, run_id: FlowRunId) -> FlowRun:
        """``GET /flow_runs/{id}``."""
        answer = await self._session.request(
            "GET", f"/flow_runs/{_part(run_id)}", priority=Priority.STATE
        )
        return read(WireRun, WireRun.run, answer, f"flow run {run_id}")

    async def read_history(self, run_id: FlowRunId) -> list[State]:
        """``GET /flow_run_states/``."""
        answer = await self._session.request(
            "GET", f"/flow_run_states/?flow_run_id={_part(run_id)}"
        )
        return self._lists.read(WireState, WireState.state, answer, f"states of flow run {run_id}")

    async def read_deployment(self, deployment_id: DeploymentId) -> Deployment:
        """``GET /deployments/{id}``."""
        answer = await self._session.request("GET", f"/deployments/{_part(deployment_id)}")
        return read(
            WireDeployment, WireDeployment.deployment, answer, f"deployment {deployment_id}"
        )

    async def read_flow(self, flow_id: FlowId) -> Flow:
        """``GET /flows/{id}``."""
        answer = await self._session.request("GET", f"/flows/{_part(flow_id)}")
        return read(WireFlow, WireFlow.flow, answer, f"flow {flow_id}")

    async def propose_state(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        """``POST /flow_runs/{id}/set_state``; NotFound when the run was deleted."""
        path = f"/flow_runs/{_part(run_id)}/set_state"
        answer = await self._session.request(
            "POST", path, body=state_body(proposal), priority=Priority.STATE
        )
        verdict = read(WireVerdict, WireVerdict.verdict, answer, f"state of flow run {run_id}")
        if isinstance(verdict, Wait) and verdict.delay_seconds > LONGEST_WAIT:
            _log.warning(
                "api.told_to_wait",
                flow_run_id=run_id,
                asked_seconds=verdict.delay_seconds,
                granted_seconds=LONGEST_WAIT,
            )
            return replace(verdict, delay_seconds=LONGEST_WAIT)
        return verdict

    async def set_infrastructure_pid(self, run_id: FlowRunId, infrastructure_pid: str) -> None:
        """``PATCH /flow_runs/{id}``."""
        body = {"infrastructure_pid": infrastructure_pid}
        await self._session.request(
            "PATCH", f"/flow_runs/{_part(run_id)}", body=body, priority=Priority.DETAIL
        )

    async def add_labels(self, run_id: FlowRunId, labels: Mapping[str, str]) -> bool:
        """``PATCH /flow_runs/{id}/labels``, which servers before 3.1.x do not have."""
        try:
            await self._session.request(
                "PATCH",
                f"/flow_runs/{_part(run_id)}/labels",
                body=labels,
                priority=Priority.DETAIL,
            )
        except RouteMissing:
            return False
        return True

    async def read_block_by_name(self, type_slug: str, name: str) -> Json:
        """``GET /block_types/slug/{slug}/block_documents/name/{name}``, secrets included."""
        path = f"/block_types/slug/{_part(type_slug)}/block_documents/name/{_part(name)}"
        return await self._read_block(path, f"block {type_slug}/{name}")

    async def read_block_by_id(self, block_document_id: str) -> Json:
        """``GET /block_documents/{id}``, secrets included."""
        try:
            UUID(block_document_id)
        except ValueError:
            # The route would answer a wrong form as if there were no such route.
            raise NotFound(f"no block document has the id {block_document_id!r}") from None
        path = f"/block_documents/{_part(block_document_id)}"
        return await self._read_block(path, f"block {block_document_id}")

    async def read_variable(self, name: str) -> Json:
        """``GET /variables/name/{name}``."""
        answer = await self._session.request("GET", f"/variables/name/{_part(name)}")
        if not isinstance(answer, dict) or "value" not in answer:
            raise Unavailable(f"variable {name!r}: the answer holds no value")
        return answer["value"]

    async def send_logs(self, lines: Sequence[LogLine]) -> None:
        """``POST /logs/``."""
        if lines:
            await self._session.request(
                "POST", "/logs/", body=logs_body(lines), priority=Priority.DETAIL
            )

    async def send_events(self, events: Sequence[WorkerEvent]) -> None:
        """``POST /events``: without a slash at the end, unlike all other collections."""
        if events:
            await self._session.request(
                "POST", "/events", body=events_body(events), priority=Priority.DETAIL
            )

    async def read_server_version(self) -> str:
        """``GET /admin/version``."""
        answer = await self._session.request("GET", "/admin/version")
        if not isinstance(answer, str):
            raise Unavailable("GET /admin/version: the answer is not a version")
        return answer

    async def _read_block(self, path: str, what: str) -> Json:
        answer = await self._session.request("GET", path, query={"include_secrets": "true"})
        return read(WireBlock, lambda block: block.data, answer, what)

    async def _pages(self, path: str, body: Callable[[int], Json]) -> list[Json]:
        """The items of all pages. The server chooses their size: its limit may be set low."""
        items: list[Json] = []
        page: Json = None
        for _ in range(MAX_PAGES):
            before = page
            page = await self._session.request(
                "POST", path, body=body(len(items)), priority=Priority.VITAL
            )
            if not isinstance(page, list):
                raise Unavailable(f"POST {path}: the answer is not a list")
            if not page or page == before:
                break
            items += page
        return items


def _part(text: str) -> str:
    """``text`` as one part of a path; names may hold spaces and anything else.

    InvalidRequest: it would name another path. "." and ".." mean that however they are encoded.
    """
    if text in ("", ".", ".."):
        raise InvalidRequest(f"nothing on a server can be called {text!r}")
    return quote(text, safe="")
