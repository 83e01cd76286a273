"""What a run's supervisor works with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..domain.model import WorkPool
from ..domain.ports import Clock, Journal, Launcher, Measure, Orchestrator
from ..job.prepared_job import Prepare
from ..runtime import Address
from .run_events import RunEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorPorts:
    """What all supervisors of one worker share."""

    orchestrator: Orchestrator
    launcher: Launcher
    journal: Journal
    measure: Measure | None
    clock: Clock
    rng: random.Random
    prepare: Prepare
    events: RunEvents
    hostname: str
    labels: Callable[[WorkPool], Mapping[str, str]]
    dispatcher: Address
    heartbeater: Address
    event_emitter: Address
    log_shipper: Address
