"""A Prefect server in memory, for tests of programs that work with actors.

It passes the same contract tests as the adapter for a real server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import TypeVar

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
from .faults import Faults, operation
from .prefect_world import PrefectWorld
from .world_items import Heartbeat, Pool, Run

K = TypeVar("K")
T = TypeVar("T")

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

    @operation
    def read_work_pool(self, name: str) -> WorkPool:
        return self._pool(name).pool

    @operation
    def create_work_pool(
        self, name: str, type: str, base_job_template: Mapping[str, Json] | None
    ) -> WorkPool:
        """Names starting with Prefect are reserved."""
        if name.lower().startswith("prefect"):
            raise Forbidden("Work pools starting with 'Prefect' are reserved", status=403)
        if name in self.world.pools:
            raise Conflict("A work pool with this name already exists.", status=409)
        return self.world.add_pool(name, type=type, base_job_template=base_job_template).pool

    @operation
    def update_base_job_template(self, name: str, template: Mapping[str, Json]) -> None:
        pool = self._pool(name)
        pool.pool = replace(pool.pool, base_job_template=template)

    @operation
    def read_work_queues(self, pool: str, names: Collection[str]) -> list[WorkQueue]:
        """An unknown pool has no queues."""
        queues = self.world.pools[pool].queues if pool in self.world.pools else []
        return [queue for queue in queues if not names or queue.name in names]

    @operation
    def send_heartbeat(self, pool: str, worker: str, interval_seconds: int) -> None:
        self._pool(pool)
        self.world.heartbeats.append(
            Heartbeat(pool, worker, interval_seconds, at=self._clock.now())
        )

    @operation
    def read_due_runs(
        self, pool: str, queues: Collection[str], *, before: datetime, limit: int | None = None
    ) -> DueListing:
        """By queue priority, within the limits of queues and pool."""
        longest = PAGE if limit is None else min(limit, PAGE)
        due = self._due(self._pool(pool), queues, before)[:longest]
        runs = tuple(_as_polled(run.run) for run in due)
        return DueListing(runs=runs, length=len(runs), may_be_cut=len(runs) >= longest)

    @operation
    def read_scheduled_runs(self, pool: str, queue: str, *, before: datetime) -> list[FlowRun]:
        return [run.run for run in _scheduled(queue, self.world.runs_of(pool), before)]

    @operation
    def read_cancelling_runs(
        self, pool: str, queues: Collection[str], *, excluding: Collection[FlowRunId]
    ) -> list[FlowRun]:
        """Runs in CANCELLING, or in CANCELLED by the name of Cancelling."""
        return [
            run.run
            for run in self.world.runs_of(pool)
            if (not queues or run.queue in queues)
            and run.run.id not in excluding
            and _is_being_cancelled(run.state)
        ]

    @operation
    def read_flow_run(self, run_id: FlowRunId) -> FlowRun:
        return self.world.run(run_id).run

    @operation
    def missing_runs(self, run_ids: Collection[FlowRunId]) -> frozenset[FlowRunId]:
        return frozenset(run_ids) - self.world.runs.keys()

    @operation
    def read_history(self, run_id: FlowRunId) -> list[State]:
        return self.world.history_of(run_id)

    @operation
    def read_deployment(self, deployment_id: DeploymentId) -> Deployment:
        return _found(self.world.deployments, deployment_id, "Deployment")

    @operation
    def read_flow(self, flow_id: FlowId) -> Flow:
        return _found(self.world.flows, flow_id, "Flow")

    @operation
    def propose_state(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        return self.world.propose(run_id, proposal)

    @operation
    def knows_submitting(self) -> bool:
        return self.world.server >= (3, 6, 22)

    @operation
    def set_infrastructure_pid(self, run_id: FlowRunId, infrastructure_pid: str) -> None:
        run = self.world.run(run_id)
        run.run = replace(run.run, infrastructure_pid=infrastructure_pid)

    @operation
    def add_labels(self, run_id: FlowRunId, labels: Mapping[str, str]) -> bool:
        """Servers before 3.1.1 have no route for labels."""
        if self.world.server < (3, 1, 1):
            return False
        self.world.run(run_id).labels.update(labels)
        return True

    @operation
    def read_block_by_name(self, type_slug: str, name: str) -> Json:
        return dict(_found(self.world.blocks, (type_slug, name), "Block document").data)

    @operation
    def read_block_by_id(self, block_document_id: str) -> Json:
        blocks = {block.id: block for block in self.world.blocks.values()}
        return dict(_found(blocks, block_document_id, "Block document").data)

    @operation
    def read_variable(self, name: str) -> Json:
        return _found(self.world.variables, name, "Variable")

    @operation
    def send_logs(self, lines: Sequence[LogLine]) -> None:
        self.world.logs.extend(lines)

    @operation
    def send_events(self, events: Sequence[WorkerEvent]) -> None:
        self.world.take_events(events)

    def _pool(self, name: str) -> Pool:
        if name not in self.world.pools:
            raise NotFound(f'Work pool "{name}" not found.', status=404)
        return self.world.pools[name]

    def _due(self, pool: Pool, names: Collection[str], before: datetime) -> list[Run]:
        for name in {*names} - {queue.name for queue in pool.queues}:
            raise NotFound(f"Work pool queue '{pool.pool.name}/{name}' not found.", status=404)
        if pool.pool.is_paused:
            return []
        runs = self.world.runs_of(pool.pool.name)
        due: list[Run] = []
        for queue in pool.queues:
            if not queue.is_paused and (not names or queue.name in names):
                room = _room(queue.concurrency_limit, [r for r in runs if r.queue == queue.name])
                due += _scheduled(queue.name, runs, before)[:room]
        return due[: _room(pool.pool.concurrency_limit, runs)]


def _scheduled(queue: str, runs: Iterable[Run], before: datetime) -> list[Run]:
    """What waits in the queue and is due, earliest first."""
    due = [
        run
        for run in runs
        if run.queue == queue
        and run.state.type is StateType.SCHEDULED
        and run.run.due is not None
        and run.run.due <= before
    ]
    return sorted(due, key=attrgetter("run.due"))


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


def _found(things: Mapping[K, T], key: K, kind: str) -> T:
    if key not in things:
        raise NotFound(f"{kind} not found", status=404)
    return things[key]
