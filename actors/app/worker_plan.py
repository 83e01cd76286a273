"""What a worker is made from: what it is to do, and what it needs of the outside."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from ..domain.model import Deployment, FlowRun, Json, WorkPool
from ..domain.ports import Clock, Journal, Launcher, Orchestrator, ResourceMonitor, ServiceNotifier
from ..domain.record import RunRecord
from ..job.prepared_job import PreparedJob
from ..messages.lifetime import OnDeadline


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """What one worker is to do. Seconds are floats; the defaults are Prefect's (contract 16)."""

    name: str
    pool: str
    hostname: str
    queues: tuple[str, ...] = ()
    limit: int | None = None
    memory_pause_percent: float = 95.0
    query_seconds: float = 10.0
    prefetch_seconds: float = 10.0
    heartbeat_seconds: float = 30.0
    run_once: bool = False
    create_pool_if_not_found: bool = True
    base_job_template: Mapping[str, Json] | None = None
    drain_seconds: float | None = None
    on_deadline: OnDeadline = OnDeadline.TERMINATE
    keep_seconds: float = 7 * 86_400.0
    keep_count: int = 1_000
    """How long, and how many, records of runs that are over are kept."""
    log_to_api: bool = True
    log_pause_seconds: float = 2.0
    log_batch_bytes: int = 3_000_000
    log_line_bytes: int = 1_000_000
    log_api_level: int = logging.INFO
    """Remarks below this level of Python's logging are kept out of the runs' logs in the API."""
    version: str = "3"
    """The Prefect version told in worker events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPorts:
    """What a worker needs of the outside; every part may be a fake."""

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
    """None: nothing is measured, so limits of memory are not kept."""
    notifier: ServiceNotifier | None = None
    """None: no service manager is to be told anything."""
