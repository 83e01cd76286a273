"""What a run's supervisor needs from the outside."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from ..domain.model import Resource, WorkPool
from ..domain.ports import Clock, Journal, Launcher, Orchestrator, ResourceMonitor
from ..domain.record import RunRecord
from ..job.job import PreparedJob
from ..messages.services import Peers


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorPorts:
    """What all supervisors of one worker share."""

    orchestrator: Orchestrator
    launcher: Launcher
    journal: Journal
    resource_monitor: ResourceMonitor | None
    clock: Clock
    rng: random.Random
    prepare_job: Callable[[RunRecord, WorkPool], Awaitable[PreparedJob]]
    resource: Resource
    """The worker, in the events about its runs."""
    hostname: str
    labels: Callable[[WorkPool], Mapping[str, str]]
    submitting_state: bool
    """Whether runs are Submitting before they start, where the server knows that."""
    peers: Peers
