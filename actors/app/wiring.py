"""Where actors meet adapters: which actors start, in which order, with which addresses."""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from slugify import slugify

from ..cancellation_watcher.cancellation_watcher import CancellationWatcher
from ..deletion_watcher import DeletionWatcher
from ..deliveries import EventEmitter, LogShipper
from ..dispatcher.dispatcher import Dispatcher
from ..domain.model import Deployment, FlowRun, WorkPool
from ..domain.ports import (
    Clock,
    EventStream,
    Journal,
    Launcher,
    Orchestrator,
    ResourceMonitor,
    ServiceManager,
)
from ..domain.record import RunRecord
from ..domain.worker_events import worker_resource
from ..event_subscriber import EventSubscriber
from ..guardian import Guardian
from ..health_reporter import HealthReporter
from ..heartbeater import Heartbeater
from ..job.configuration import default_base_job_template
from ..job.job import PreparedJob
from ..journal_pruner import JournalPruner
from ..memory_watcher import MemoryWatcher
from ..messages.process_supervisor import SupervisorStart
from ..messages.services import Peers, ServiceSettings
from ..poller.poller import Poller
from ..prefect_api.settings.profile import PrefectProfile
from ..process_supervisor.ports import SupervisorPorts
from ..process_supervisor.process_supervisor import ProcessSupervisor
from ..runtime import AsyncioRef, ChildSpec, Directory
from ..service_notifier import ServiceNotifier
from ..settings.worker_settings import WorkerSettings

RUN_PREFIX = "run/"
"""The directory has the supervisor of a run under this prefix and the key of its claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What one worker is to do, and as whom."""

    settings: WorkerSettings
    prefect: PrefectProfile = field(default_factory=PrefectProfile)
    name: str
    """The worker's name; the settings may leave it to the host's."""
    hostname: str
    version: str = "3"
    """The Prefect version told in worker events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPorts:
    """What a worker needs of the outside; each may be a fake."""

    orchestrator: Orchestrator
    launcher: Launcher
    journal: Journal
    clock: Clock
    prepare_job: Callable[[RunRecord, WorkPool], Awaitable[PreparedJob]]
    pid_exists: Callable[[int], bool]
    uses_runner: Callable[[FlowRun, Deployment | None, WorkPool | None], bool]
    rng: random.Random = field(default_factory=random.Random)
    maintenance_until: Callable[[], float | None] = lambda: None
    """Until when, on the monotonic clock, the server has announced maintenance."""
    resource_monitor: ResourceMonitor | None = None
    """None: memory is not measured, so its limits have no effect."""
    event_stream: EventStream | None = None
    """None: nothing is heard of the server's events."""
    notifier: ServiceManager | None = None
    """None: there is no service manager to notify."""
    on_started: Callable[[], None] = lambda: None
    """Called once, when the work pool is known to fit."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """A worker's actors: the directory of all, and the Guardian that supervises them."""

    directory: Directory
    guardian: AsyncioRef


def start_actors(plan: WorkerPlan, ports: WorkerPorts) -> Wiring:
    """Start a worker's actors on the running loop; ping the Guardian to know that they are up."""
    directory = Directory()
    guardian = Guardian.start(
        _children(plan, ports, directory),
        directory=directory,
        clock=ports.clock,
        worker=_resource(plan),
        new_id=partial(_new_id, ports.rng),
        drain_seconds=plan.settings.drain_seconds,
        on_deadline=plan.settings.on_deadline,
        on_started=ports.on_started,
        peers=Peers(directory),
    )
    directory.register("guardian", guardian)
    return Wiring(directory, guardian)


def _children(plan: WorkerPlan, ports: WorkerPorts, directory: Directory) -> list[ChildSpec]:
    """The services, in the order in which they start; they stop in reverse.

    A receiver starts before its senders, so that it outlives them. The Heartbeater starts early
    nevertheless: runs that the Dispatcher adopts ask it for the pool.
    """
    settings, prefect, peers = plan.settings, plan.prefect, Peers(directory)
    api = {"orchestrator": ports.orchestrator, "rng": ports.rng}
    service_settings = ServiceSettings(
        pool=settings.pool,
        queues=settings.work_queues,
        worker=plan.name,
        hostname=plan.hostname,
        query_seconds=settings.query_seconds,
        prefetch_seconds=settings.prefetch_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        template=settings.base_job_template or default_base_job_template(),
        create_if_missing=settings.create_pool_if_not_found,
        once=settings.run_once,
    )
    max_line = prefect.logging_to_api_max_log_size
    services: dict[str, Callable[[], AsyncioRef]] = {}
    services["event_emitter"] = partial(EventEmitter.start, **api)
    if prefect.logging_to_api_enabled:
        services["log_shipper"] = partial(
            LogShipper.start,
            **api,
            pause_seconds=prefect.logging_to_api_batch_interval,
            batch_bytes=max(prefect.logging_to_api_batch_size - max_line, max_line),
            max_line_bytes=max_line,
            level=logging.getLevelNamesMapping()[prefect.logging_level],
        )
    services["health_reporter"] = partial(
        HealthReporter.start,
        clock=ports.clock,
        query_seconds=settings.query_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        excused_until=ports.maintenance_until,
        peers=peers,
    )
    services["heartbeater"] = partial(Heartbeater.start, service_settings, **api, peers=peers)
    services["dispatcher"] = partial(
        Dispatcher.start,
        clock=ports.clock,
        rng=ports.rng,
        limit=settings.limit,
        memory_pause_percent=settings.memory_pause_percent,
        worker=plan.name,
        journal=ports.journal,
        launcher=ports.launcher,
        start_supervisor=_supervisors(plan, ports, directory),
        alive_supervisors=lambda: [
            ref for name, ref in directory if name.startswith(RUN_PREFIX) and ref.is_alive()
        ],
        peers=peers,
    )
    if ports.resource_monitor is not None:
        services["memory_watcher"] = partial(
            MemoryWatcher.start,
            resource_monitor=ports.resource_monitor,
            peers=peers,
        )
    services["poller"] = partial(
        Poller.start, service_settings, **api, clock=ports.clock, peers=peers
    )
    services["cancellation_watcher"] = partial(
        CancellationWatcher.start,
        service_settings,
        **api,
        clock=ports.clock,
        pid_exists=ports.pid_exists,
        uses_runner=ports.uses_runner,
        peers=peers,
    )
    services["deletion_watcher"] = partial(DeletionWatcher.start, **api, peers=peers)
    if ports.event_stream is not None and settings.event_stream and not settings.run_once:
        services["event_subscriber"] = partial(
            EventSubscriber.start,
            stream=ports.event_stream,
            queues=settings.work_queues,
            worker=_resource(plan),
            new_id=partial(_new_id, ports.rng),
            clock=ports.clock,
            rng=ports.rng,
            peers=peers,
        )
    services["journal_pruner"] = partial(
        JournalPruner.start,
        journal=ports.journal,
        clock=ports.clock,
        keep_seconds=settings.keep_runs_days * 86_400.0,
        keep_count=settings.keep_runs,
    )
    if ports.notifier is not None:
        services["service_notifier"] = partial(
            ServiceNotifier.start,
            notifier=ports.notifier,
            services=[directory.address(name) for name in services],
            peers=peers,
        )
    return [ChildSpec(name=name, start=start) for name, start in services.items()]


def _supervisors(
    plan: WorkerPlan, ports: WorkerPorts, directory: Directory
) -> Callable[[SupervisorStart], AsyncioRef]:
    supervisor_ports = SupervisorPorts(
        orchestrator=ports.orchestrator,
        launcher=ports.launcher,
        journal=ports.journal,
        resource_monitor=ports.resource_monitor,
        clock=ports.clock,
        rng=ports.rng,
        prepare_job=ports.prepare_job,
        resource=_resource(plan),
        hostname=plan.hostname,
        labels=lambda pool: _labels(plan, pool),
        submitting_state=plan.settings.submitting_state,
        peers=Peers(directory),
    )

    def start(what: SupervisorStart) -> AsyncioRef:
        ref = ProcessSupervisor.start(what, supervisor_ports)
        directory.register(f"{RUN_PREFIX}{what.run.record.key}", ref)
        return ref

    return start


def _new_id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _resource(plan: WorkerPlan) -> Mapping[str, str]:
    return worker_resource(plan.name, slugify(plan.name), plan.version)


def _labels(plan: WorkerPlan, pool: WorkPool) -> Mapping[str, str]:
    """The labels that Prefect's worker gives its runs."""
    return {
        "prefect.worker.name": plan.name,
        "prefect.worker.type": "process",
        "prefect.work-pool.name": pool.name,
        "prefect.work-pool.id": pool.id,
    }
