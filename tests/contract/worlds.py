"""One face on a Prefect server and on the in-memory one, so that the same tests ask both."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from actors.domain.ids import DeploymentId, FlowRunId
from actors.domain.model import LogLine, StateType, WorkerEvent
from actors.domain.ports import EventStream, Orchestrator
from actors.runtime import LoopClock
from actors.testing.event_stream import InMemoryEventStream
from actors.testing.orchestrator import InMemoryOrchestrator
from actors.testing.state_rules import OnFull
from tests.support.prefect_admin import PrefectAdmin
from tests.support.prefect_server import PrefectServer

PATIENCE_SECONDS: Final = 60.0
"""How long to wait for what a server does later than it answers."""

PAUSE_SECONDS: Final = 0.1


class World(Protocol):
    """A server with one pool of its own, and the hands of its users and engines."""

    pool: str

    @property
    def orchestrator(self) -> Orchestrator: ...

    @property
    def event_stream(self) -> EventStream: ...

    @property
    def version(self) -> tuple[int, ...]: ...

    def deploy(
        self, *, limit: int | None = None, on_full: str = "ENQUEUE", **fields: Any
    ) -> DeploymentId: ...

    def schedule(
        self,
        deployment: DeploymentId,
        *,
        queue: str = "default",
        seconds_ahead: float = 0,
        job_variables: Mapping[str, Any] | None = None,
    ) -> FlowRunId: ...

    def add_queue(self, name: str, priority: int, *, limit: int | None = None) -> None: ...

    def limit_pool(self, limit: int) -> None:
        """How many runs of the pool may be active at a time."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def pause_queue(self, name: str, *, paused: bool = True) -> None: ...

    def set_state(self, run: FlowRunId, type: StateType, name: str | None = None) -> None:
        """What an engine, a user or an old server does, by force."""

    def delete_run(self, run: FlowRunId) -> None: ...

    def types_of(self, run: FlowRunId) -> list[StateType]: ...

    def log_of(self, run: FlowRunId) -> list[LogLine]: ...

    def labels_of(self, run: FlowRunId) -> Mapping[str, str]: ...

    def workers(self) -> Mapping[str, tuple[str, int]]:
        """The pool's workers by name: status, and seconds between heartbeats."""

    async def events_about(self, resource_id: str, number: int) -> list[WorkerEvent]:
        """The events of a resource, oldest first, once there are ``number`` of them."""

    def add_block(self, name: str, secret: str) -> str:
        """A ``secret`` block; its id."""

    def add_variable(self, name: str, value: Any) -> None: ...


def _event(answer: Mapping[str, Any]) -> WorkerEvent:
    return WorkerEvent(
        id=answer["id"],
        event=answer["event"],
        occurred=datetime.fromisoformat(answer["occurred"]),
        resource=answer["resource"],
        related=tuple(answer["related"]),
        follows=answer["follows"],
        payload=answer["payload"],
    )


class RealWorld:
    """A Prefect server over HTTP."""

    def __init__(
        self, orchestrator: Orchestrator, event_stream: EventStream, server: PrefectServer
    ) -> None:
        self.orchestrator = orchestrator
        self.event_stream = event_stream
        self._admin = PrefectAdmin(server)
        self.pool = f"pool {uuid.uuid4().hex[:8]}"
        self._path = self.pool.replace(" ", "%20")
        self._admin.create_pool(self.pool)
        version = self._admin.request("GET", "/admin/version")
        self.version = tuple(map(int, version.split(".")))

    def deploy(
        self, *, limit: int | None = None, on_full: str = "ENQUEUE", **fields: Any
    ) -> DeploymentId:
        if limit is not None:
            fields["concurrency_limit"] = limit
            if self.version > (3, 0, 4):
                fields["concurrency_options"] = {"collision_strategy": on_full}
        name = f"deployment-{uuid.uuid4().hex[:8]}"
        return DeploymentId(self._admin.create_deployment(name, self.pool, **fields))

    def schedule(
        self,
        deployment: DeploymentId,
        *,
        queue: str = "default",
        seconds_ahead: float = 0,
        job_variables: Mapping[str, Any] | None = None,
    ) -> FlowRunId:
        due = datetime.now(UTC) + timedelta(seconds=seconds_ahead)
        fields: dict[str, Any] = {"work_queue_name": queue}
        if job_variables is not None:
            fields["job_variables"] = job_variables
        return FlowRunId(self._admin.create_run(deployment, due=due, **fields))

    def add_queue(self, name: str, priority: int, *, limit: int | None = None) -> None:
        self._admin.create_queue(self._path, name, priority=priority, concurrency_limit=limit)

    def limit_pool(self, limit: int) -> None:
        self._admin.request("PATCH", f"/work_pools/{self._path}", {"concurrency_limit": limit})

    def pause(self) -> None:
        self._admin.request("PATCH", f"/work_pools/{self._path}", {"is_paused": True})

    def resume(self) -> None:
        self._admin.request("PATCH", f"/work_pools/{self._path}", {"is_paused": False})

    def pause_queue(self, name: str, *, paused: bool = True) -> None:
        path = f"/work_pools/{self._path}/queues/{name}"
        self._admin.request("PATCH", path, {"is_paused": paused})

    def set_state(self, run: FlowRunId, type: StateType, name: str | None = None) -> None:
        fields = {} if name is None else {"name": name}
        self._admin.set_state(run, type.value, force=True, **fields)

    def delete_run(self, run: FlowRunId) -> None:
        self._admin.request("DELETE", f"/flow_runs/{run}")

    def types_of(self, run: FlowRunId) -> list[StateType]:
        return [StateType(type) for type in self._admin.states_of(run)]

    def log_of(self, run: FlowRunId) -> list[LogLine]:
        return [
            LogLine(
                flow_run_id=FlowRunId(line["flow_run_id"]),
                level=line["level"],
                message=line["message"],
                timestamp=datetime.fromisoformat(line["timestamp"]),
                logger=line["name"],
            )
            for line in self._admin.logs_of(run)
        ]

    def labels_of(self, run: FlowRunId) -> Mapping[str, str]:
        labels: Mapping[str, str] = self._admin.read_run(run)["labels"]
        return labels

    def workers(self) -> Mapping[str, tuple[str, int]]:
        path = f"/work_pools/{self._path}/workers/filter"
        found: dict[str, tuple[str, int]] = {}
        while page := self._admin.request("POST", path, {"offset": len(found)}):
            for worker in page:
                found[worker["name"]] = (worker["status"], worker["heartbeat_interval_seconds"])
        return found

    async def events_about(self, resource_id: str, number: int) -> list[WorkerEvent]:
        """Servers take events at once and write them later: asking again is how to wait for it."""
        body = {"filter": {"resource": {"id": [resource_id]}, "order": "ASC"}}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = self._admin.request("POST", "/events/filter", body)["events"]
                if len(found) >= number:
                    return [_event(each) for each in found]
                await asyncio.sleep(PAUSE_SECONDS)

    def add_block(self, name: str, secret: str) -> str:
        return self._admin.create_block("secret", name, {"value": secret})

    def add_variable(self, name: str, value: Any) -> None:
        self._admin.create_variable(name, value)


class FakeWorld:
    """The in-memory orchestrator."""

    def __init__(self, version: str) -> None:
        self.orchestrator = self._fake = InMemoryOrchestrator(LoopClock(), version=version)
        self._world = self._fake.world
        self.event_stream = InMemoryEventStream(self._world)
        self.pool = "pool fake"
        self.version = self._world.server
        self._world.add_pool(self.pool)

    def deploy(
        self, *, limit: int | None = None, on_full: str = "ENQUEUE", **fields: Any
    ) -> DeploymentId:
        return self._world.add_deployment(
            concurrency_limit=limit,
            on_full=OnFull(on_full),
            job_variables=fields.get("job_variables"),
            tags=tuple(fields.get("tags", ())),
        )

    def schedule(
        self,
        deployment: DeploymentId,
        *,
        queue: str = "default",
        seconds_ahead: float = 0,
        job_variables: Mapping[str, Any] | None = None,
    ) -> FlowRunId:
        return self._world.schedule(
            self.pool,
            deployment_id=deployment,
            queue=queue,
            due=datetime.now(UTC) + timedelta(seconds=seconds_ahead),
            job_variables=job_variables,
        )

    def add_queue(self, name: str, priority: int, *, limit: int | None = None) -> None:
        self._world.add_queue(self.pool, name, priority=priority, concurrency_limit=limit)

    def limit_pool(self, limit: int) -> None:
        pool = self._world.pools[self.pool]
        pool.pool = replace(pool.pool, concurrency_limit=limit)

    def pause(self) -> None:
        self._world.pause_pool(self.pool)

    def resume(self) -> None:
        self._world.pause_pool(self.pool, paused=False)

    def pause_queue(self, name: str, *, paused: bool = True) -> None:
        self._world.pause_queue(self.pool, name, paused=paused)

    def set_state(self, run: FlowRunId, type: StateType, name: str | None = None) -> None:
        self._world.set_state(run, type, name, force=True)

    def delete_run(self, run: FlowRunId) -> None:
        self._world.delete_run(run)

    def types_of(self, run: FlowRunId) -> list[StateType]:
        return self._world.types_of(run)

    def log_of(self, run: FlowRunId) -> list[LogLine]:
        return [line for line in self._world.logs if line.flow_run_id == run]

    def labels_of(self, run: FlowRunId) -> Mapping[str, str]:
        return self._world.run(run).labels

    def workers(self) -> Mapping[str, tuple[str, int]]:
        return {beat.worker: ("ONLINE", beat.interval_seconds) for beat in self._world.heartbeats}

    async def events_about(self, resource_id: str, number: int) -> list[WorkerEvent]:
        found = [
            event
            for event in self._world.events
            if event.resource["prefect.resource.id"] == resource_id
        ]
        assert len(found) == number
        return found

    def add_block(self, name: str, secret: str) -> str:
        return self._world.add_block("secret", name, {"value": secret})

    def add_variable(self, name: str, value: Any) -> None:
        self._world.variables[name] = value


def soon(seconds: float = 1) -> datetime:
    """A moment from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def some_id() -> str:
    """An id that no server has."""
    return str(uuid.uuid4())
