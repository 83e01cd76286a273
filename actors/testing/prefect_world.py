"""What a Prefect server holds, in memory, with the hands of everybody who is not the worker.

Users create deployments, schedule and cancel; engines report states; tests look at what came.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from ..domain.errors import NotFound
from ..domain.ids import DeploymentId, FlowId, FlowRunId, TransitionId
from ..domain.model import (
    Deployment,
    Flow,
    FlowRun,
    Json,
    LogLine,
    Proposal,
    State,
    StateType,
    Verdict,
    Wait,
    WorkerEvent,
    WorkPool,
    WorkQueue,
)
from ..domain.ports import Clock
from .state_rules import HOLDS_SLOT, OnFull, Situation, judge, scheduled_time
from .world_items import Block, Event, Heartbeat, Pool, Run


class PrefectWorld:
    """Everything on one server. Ids are random-looking but the same in every world."""

    def __init__(self, clock: Clock, *, version: str = "3.8.8") -> None:
        self.version = version
        self.pools: dict[str, Pool] = {}
        self.flows: dict[FlowId, Flow] = {}
        self.deployments: dict[DeploymentId, Deployment] = {}
        self.runs: dict[FlowRunId, Run] = {}
        self.blocks: dict[tuple[str, str], Block] = {}
        """By the slug of their type and by their name."""
        self.variables: dict[str, Json] = {}
        self.heartbeats: list[Heartbeat] = []
        self.logs: list[LogLine] = []
        self.events: list[WorkerEvent] = []
        self.listeners: list[Callable[[Event], None]] = []
        self._clock = clock
        self.limits: dict[DeploymentId, int] = {}
        """How many runs of a deployment it lets in at a time."""
        self._on_full: dict[DeploymentId, OnFull] = {}
        self._ids = 0

    @property
    def server(self) -> tuple[int, int, int]:
        """The version as numbers."""
        major, minor, patch = map(int, self.version.split("."))
        return major, minor, patch

    def add_pool(
        self,
        name: str,
        *,
        type: str = "process",
        base_job_template: Mapping[str, Json] | None = None,
        concurrency_limit: int | None = None,
    ) -> Pool:
        """A pool with the queue ``default``."""
        pool = WorkPool(
            id=self.new_id(),
            name=name,
            type=type,
            base_job_template=base_job_template or {},
            concurrency_limit=concurrency_limit,
        )
        self.pools[name] = Pool(pool=pool, queues=[WorkQueue(name="default")])
        return self.pools[name]

    def add_queue(
        self,
        pool: str,
        name: str,
        *,
        priority: int = 1,
        is_paused: bool = False,
        concurrency_limit: int | None = None,
    ) -> None:
        """A further queue; those of the same or a later priority move back, as on the server."""
        queue = WorkQueue(name=name, is_paused=is_paused, concurrency_limit=concurrency_limit)
        self.pools[pool].queues.insert(priority - 1, queue)

    def pause_pool(self, name: str, *, paused: bool = True) -> None:
        """Pause a pool, or let it go on."""
        pool = self.pools[name]
        pool.pool = replace(pool.pool, is_paused=paused)
        self._announce(f"prefect.work-pool.{'paused' if paused else 'ready'}", pool.pool)

    def pause_queue(self, pool: str, name: str, *, paused: bool = True) -> None:
        """Pause a queue, or let it go on."""
        found = self.pools[pool]
        place = [queue.name for queue in found.queues].index(name)
        found.queues[place] = replace(found.queues[place], is_paused=paused)
        status = "paused" if paused else "not-ready"
        self._announce(f"prefect.work-queue.{status}", found.pool, queue=name)

    def take_events(self, events: Iterable[WorkerEvent]) -> None:
        """What workers emit."""
        for event in events:
            self.events.append(event)
            related = {each["prefect.resource.id"] for each in event.related}
            for pool in (each.pool for each in self.pools.values()):
                if f"prefect.work-pool.{pool.id}" in related:
                    self._announce(event.event, pool, id=event.id)

    def add_flow(self) -> FlowId:
        """A flow."""
        flow_id = FlowId(self.new_id())
        self.flows[flow_id] = Flow(id=flow_id, name="flow")
        return flow_id

    def add_deployment(
        self,
        name: str = "deployment",
        *,
        job_variables: Mapping[str, Json] | None = None,
        tags: tuple[str, ...] = (),
        concurrency_limit: int | None = None,
        on_full: OnFull = OnFull.ENQUEUE,
    ) -> DeploymentId:
        """A deployment of a new flow."""
        deployment_id = DeploymentId(self.new_id())
        self.deployments[deployment_id] = Deployment(
            id=deployment_id,
            name=name,
            flow_id=self.add_flow(),
            job_variables=job_variables or {},
            tags=tags,
        )
        if concurrency_limit is not None:
            self.limits[deployment_id] = concurrency_limit
        self._on_full[deployment_id] = on_full
        return deployment_id

    def schedule(
        self,
        pool: str,
        *,
        deployment_id: DeploymentId | None = None,
        due: datetime | None = None,
        queue: str = "default",
        name: str = "",
        job_variables: Mapping[str, Json] | None = None,
        tags: tuple[str, ...] = (),
    ) -> FlowRunId:
        """A flow run in Scheduled, due now unless told otherwise."""
        run_id = FlowRunId(self.new_id())
        due = due or self._clock.now()
        flow_id = self.deployments[deployment_id].flow_id if deployment_id else None
        state = State(
            type=StateType.SCHEDULED,
            name="Scheduled",
            id=self.new_id(),
            details={"scheduled_time": due.isoformat()},
        )
        run = FlowRun(
            id=run_id,
            name=name or f"run-{len(self.runs) + 1}",
            flow_id=flow_id or self.add_flow(),
            state=state,
            deployment_id=deployment_id,
            due=due,
            job_variables=job_variables or {},
            tags=tags,
            work_queue_name=queue,
        )
        self.runs[run_id] = entry = Run(run=run, pool=pool, queue=queue, history=[state])
        self._announce_state(entry)
        return run_id

    def add_block(self, type_slug: str, name: str, data: Mapping[str, Json]) -> str:
        """A block document; its id."""
        block = self.blocks[type_slug, name] = Block(id=self.new_id(), data=data)
        return block.id

    def set_state(
        self, run_id: FlowRunId, type: StateType, name: str | None = None, **fields: Json
    ) -> Verdict:
        """What an engine or a user reports; ``fields`` are further ones of the proposal."""
        proposal = Proposal(
            type=type,
            name=name or type.capitalize(),
            transition_id=TransitionId(self.new_id()),
            **fields,
        )
        return self.propose(run_id, proposal)

    def cancel(self, run_id: FlowRunId) -> Verdict:
        """A user cancels the run."""
        return self.set_state(run_id, StateType.CANCELLING)

    def delete_run(self, run_id: FlowRunId) -> None:
        """A user deletes the run."""
        del self.runs[run_id]

    def delete_deployment(self, deployment_id: DeploymentId) -> None:
        """A user deletes the deployment; its scheduled runs go with it."""
        del self.deployments[deployment_id]
        self.limits.pop(deployment_id, None)
        for run_id, run in list(self.runs.items()):
            if run.run.deployment_id == deployment_id and run.state.type is StateType.SCHEDULED:
                del self.runs[run_id]

    def run(self, run_id: FlowRunId) -> Run:
        """The run; NotFound when there is none (any more)."""
        if run_id not in self.runs:
            raise NotFound(f"Flow run with id {run_id} not found", status=404)
        return self.runs[run_id]

    def runs_of(self, pool: str) -> list[Run]:
        """The pool's runs, the oldest first."""
        return [run for run in self.runs.values() if run.pool == pool]

    def history_of(self, run_id: FlowRunId) -> list[State]:
        """All states the run ever had, in order."""
        return list(self.runs[run_id].history) if run_id in self.runs else []

    def types_of(self, run_id: FlowRunId) -> list[StateType]:
        """The types of all states the run ever had, in order."""
        return [state.type for state in self.runs[run_id].history]

    def propose(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        """Apply the server's rules to a proposal and write what they say."""
        run = self.run(run_id)
        verdict = judge(proposal, self._situation(run))
        if isinstance(verdict, Wait) or verdict.state in (None, run.state):
            return verdict
        assert verdict.state is not None
        self._write(run, verdict.state, started=proposal.type is StateType.RUNNING)
        return replace(verdict, state=run.state)

    def new_id(self) -> str:
        """The next id."""
        self._ids += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(self._ids)))

    def _situation(self, run: Run) -> Situation:
        deployment_id = run.run.deployment_id
        situation = Situation(
            state=run.state,
            now=self._clock.now(),
            server=self.server[:2],
            has_infrastructure=run.run.infrastructure_pid is not None,
            has_deployment=deployment_id is not None,
        )
        if deployment_id is None or self.server < (3, 0, 4):  # workers managed limits themselves
            return situation
        holding = sum(
            other.run.deployment_id == deployment_id and other.state.type in HOLDS_SLOT
            for other in self.runs.values()
        )
        return replace(
            situation,
            limit=self.limits.get(deployment_id),
            holding=holding,
            on_full=self._on_full[deployment_id],
        )

    def _write(self, run: Run, state: State, *, started: bool) -> None:
        state = replace(state, id=self.new_id())
        run.history.append(state)
        due = scheduled_time(state) if state.type is StateType.SCHEDULED else run.run.due
        run.run = replace(
            run.run, state=state, due=due, run_count=run.run.run_count + (started and 1)
        )
        self._announce_state(run)

    def _announce_state(self, run: Run) -> None:
        name, pool = f"prefect.flow-run.{run.state.name}", self.pools.get(run.pool)
        if pool is not None:
            self._announce(name, pool.pool, id=run.state.id, queue=run.queue, run_id=run.run.id)

    def _announce(
        self,
        name: str,
        pool: WorkPool,
        *,
        id: str | None = None,
        queue: str | None = None,
        run_id: FlowRunId | None = None,
    ) -> None:
        for listener in tuple(self.listeners):
            id = id or self.new_id()
            listener(Event(id=id, name=name, pool_id=pool.id, queue=queue, run_id=run_id))
