"""A Prefect server in memory, for tests of programs that work with actors.

It passes the same contract tests as the adapter for a real server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal, TypeVar

from ..domain.errors import Conflict, Forbidden, NotFound
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
    StateType,
    Verdict,
    WorkerEvent,
    WorkPool,
    WorkQueue,
)
from ..domain.ports import Clock
from .prefect_records import Heartbeat, Pool, Run
from .prefect_world import PrefectWorld

T = TypeVar("T")

Faults = Callable[[str, Literal["before", "after"]], Awaitable[None]]
"""Called with an operation's name before and after its effect.

It may wait, as a slow network does, or raise Unavailable: the request is lost, or its response.
"""

PAGE = 200


class InMemoryOrchestrator:
    """The :class:`~actors.domain.ports.Orchestrator` port over a :class:`PrefectWorld`.

    Tests act as users and engines through ``world``. ``clock`` gives the server's time.
    """

    def __init__(
        self, clock: Clock, *, version: str = "3.8.8", faults: Faults | None = None
    ) -> None:
        self.world = PrefectWorld(clock, version=version)
        self.faults = faults
        self._clock = clock

    async def read_work_pool(self, name: str) -> WorkPool:
        return await self._answer("read_work_pool", lambda: self._pool(name).pool)

    async def create_work_pool(
        self, name: str, type: str, base_job_template: Mapping[str, Json] | None
    ) -> WorkPool:
        """Names starting with Prefect are reserved."""

        def create() -> WorkPool:
            if name.lower().startswith("prefect"):
                raise Forbidden("Work pools starting with 'Prefect' are reserved", status=403)
            if name in self.world.pools:
                raise Conflict("A work pool with this name already exists.", status=409)
            return self.world.add_pool(name, type=type, base_job_template=base_job_template).pool

        return await self._answer("create_work_pool", create)

    async def update_base_job_template(self, name: str, template: Mapping[str, Json]) -> None:
        def update() -> None:
            pool = self._pool(name)
            pool.pool = replace(pool.pool, base_job_template=template)

        await self._answer("update_base_job_template", update)

    async def read_work_queues(self, pool: str, names: Collection[str]) -> list[WorkQueue]:
        """An unknown pool has no queues."""

        def read() -> list[WorkQueue]:
            if pool not in self.world.pools:
                return []
            queues = sorted(self.world.pools[pool].queues.values(), key=lambda q: q.priority)
            return [
                WorkQueue(
                    name=queue.name,
                    is_paused=queue.is_paused,
                    concurrency_limit=queue.concurrency_limit,
                )
                for queue in queues
                if not names or queue.name in names
            ]

        return await self._answer("read_work_queues", read)

    async def send_heartbeat(self, pool: str, worker: str, interval_seconds: int) -> None:
        def record() -> None:
            self._pool(pool)
            self.world.heartbeats.append(
                Heartbeat(
                    pool=pool,
                    worker=worker,
                    interval_seconds=interval_seconds,
                    at=self._clock.now(),
                )
            )

        await self._answer("send_heartbeat", record)

    async def read_due_runs(
        self, pool: str, queues: Collection[str], *, before: datetime, limit: int | None = None
    ) -> DueListing:
        """By queue priority, within the limits of queues and pool."""
        longest = PAGE if limit is None else min(limit, PAGE)

        def read() -> DueListing:
            due = self._due(self._pool(pool), queues, before)[:longest]
            runs = tuple(_as_polled(run.run) for run in due)
            return DueListing(runs=runs, length=len(runs), may_be_cut=len(runs) >= longest)

        return await self._answer("read_due_runs", read)

    async def read_scheduled_runs(
        self, pool: str, queue: str, *, before: datetime
    ) -> list[FlowRun]:
        def read() -> list[FlowRun]:
            runs = [run for run in self.world.runs.values() if run.pool == pool]
            return [run.run for run in _scheduled(queue, runs, before)]

        return await self._answer("read_scheduled_runs", read)

    async def read_cancelling_runs(
        self, pool: str, queues: Collection[str], *, excluding: Collection[FlowRunId]
    ) -> list[FlowRun]:
        """Runs in CANCELLING, or in CANCELLED by the name of Cancelling."""

        def read() -> list[FlowRun]:
            return [
                run.run
                for run in self.world.runs.values()
                if run.pool == pool
                and (not queues or run.queue in queues)
                and run.run.id not in excluding
                and _is_being_cancelled(run.state)
            ]

        return await self._answer("read_cancelling_runs", read)

    async def read_flow_run(self, run_id: FlowRunId) -> FlowRun:
        return await self._answer("read_flow_run", lambda: self.world.run(run_id).run)

    async def read_history(self, run_id: FlowRunId) -> list[State]:
        return await self._answer("read_history", lambda: self.world.history_of(run_id))

    async def read_deployment(self, deployment_id: DeploymentId) -> Deployment:
        return await self._answer(
            "read_deployment", lambda: _found(self.world.deployments, deployment_id, "Deployment")
        )

    async def read_flow(self, flow_id: FlowId) -> Flow:
        return await self._answer("read_flow", lambda: _found(self.world.flows, flow_id, "Flow"))

    async def propose_state(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        return await self._answer("propose_state", lambda: self.world.propose(run_id, proposal))

    async def set_infrastructure_pid(self, run_id: FlowRunId, infrastructure_pid: str) -> None:
        def record() -> None:
            run = self.world.run(run_id)
            run.run = replace(run.run, infrastructure_pid=infrastructure_pid)

        await self._answer("set_infrastructure_pid", record)

    async def add_labels(self, run_id: FlowRunId, labels: Mapping[str, str]) -> bool:
        """Servers before 3.1.1 have no route for labels."""

        def merge() -> bool:
            if self.world.server < (3, 1, 1):
                return False
            self.world.run(run_id).labels.update(labels)
            return True

        return await self._answer("add_labels", merge)

    async def read_block_by_name(self, type_slug: str, name: str) -> Json:
        return await self._answer("read_block_by_name", lambda: self._block((type_slug, name)))

    async def read_block_by_id(self, block_document_id: str) -> Json:
        return await self._answer("read_block_by_id", lambda: self._block(block_document_id))

    async def read_variable(self, name: str) -> Json:
        return await self._answer(
            "read_variable", lambda: _found(self.world.variables, name, "Variable")
        )

    async def send_logs(self, lines: Sequence[LogLine]) -> None:
        await self._answer("send_logs", lambda: self.world.logs.extend(lines))

    async def send_events(self, events: Sequence[WorkerEvent]) -> None:
        await self._answer("send_events", lambda: self.world.events.extend(events))

    async def read_server_version(self) -> str:
        return await self._answer("read_server_version", lambda: self.world.version)

    async def _answer(self, operation: str, effect: Callable[[], T]) -> T:
        if self.faults is not None:
            await self.faults(operation, "before")
        result = effect()
        if self.faults is not None:
            await self.faults(operation, "after")
        return result

    def _pool(self, name: str) -> Pool:
        if name not in self.world.pools:
            raise NotFound(f'Work pool "{name}" not found.', status=404)
        return self.world.pools[name]

    def _block(self, key: str | tuple[str, str]) -> Json:
        for block in self.world.blocks:
            if key in (block.id, (block.type_slug, block.name)):
                return dict(block.data)
        raise NotFound("Block document not found", status=404)

    def _due(self, pool: Pool, names: Collection[str], before: datetime) -> list[Run]:
        for name in names:
            if name not in pool.queues:
                raise NotFound(f"Work pool queue '{pool.pool.name}/{name}' not found.", status=404)
        if pool.pool.is_paused:
            return []
        runs = [run for run in self.world.runs.values() if run.pool == pool.pool.name]
        due: list[Run] = []
        for queue in sorted(pool.queues.values(), key=lambda queue: queue.priority):
            if not queue.is_paused and (not names or queue.name in names):
                room = _room(queue.concurrency_limit, [r for r in runs if r.queue == queue.name])
                due += _scheduled(queue.name, runs, before)[:room]
        return due[: _room(pool.pool.concurrency_limit, runs)]


def _scheduled(queue: str, runs: Iterable[Run], before: datetime) -> list[Run]:
    """What waits in the queue and is due, earliest first."""
    due = [
        (run.run.due, run)
        for run in runs
        if run.queue == queue
        and run.state.type is StateType.SCHEDULED
        and run.run.due is not None
        and run.run.due <= before
    ]
    due.sort(key=lambda item: item[0])
    return [run for _, run in due]


def _room(limit: int | None, runs: list[Run]) -> int | None:
    """How many more may start; None: as many as there are."""
    if limit is None:
        return None
    busy = sum(run.state.type in (StateType.PENDING, StateType.RUNNING) for run in runs)
    return max(0, limit - busy)


def _as_polled(run: FlowRun) -> FlowRun:
    """A poll answers with the type and name of a state only, and without a queue's name."""
    state = State(type=run.state.type, name=run.state.name)
    return replace(run, state=state, work_queue_name=None)


def _is_being_cancelled(state: State) -> bool:
    if state.type is StateType.CANCELLED:
        return state.name == "Cancelling"
    return state.type is StateType.CANCELLING


K = TypeVar("K")


def _found(things: Mapping[K, T], key: K, kind: str) -> T:
    if key not in things:
        raise NotFound(f"{kind} not found", status=404)
    return things[key]
