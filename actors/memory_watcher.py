"""Measures what the machine and runs with a limit use, in a rhythm, and tells the Dispatcher."""

from __future__ import annotations

import structlog

from .domain.ports import ResourceMonitor
from .domain.process import MemorySample
from .messages.dispatcher import MemoryLimitedRuns, MemoryMeasured
from .messages.services import Peers
from .periodic_actor import PeriodicActor

PAUSE_SECONDS = 2.0
"""Between two samples. A run may exceed its limit for so long, and for the time of a sample."""


class MemoryWatcher(PeriodicActor[MemorySample]):
    """Owns: the rhythm of samples. What they mean is decided where runs are admitted and ended."""

    failure_event = "memory.not_measured"
    recovery_event = "memory.measured_again"

    def __init__(self, *, resource_monitor: ResourceMonitor, peers: Peers) -> None:
        super().__init__(log=structlog.get_logger("actors.memory_watcher"))
        self._resource_monitor = resource_monitor
        self._peers = peers

    def pause_seconds(self) -> float:
        return PAUSE_SECONDS

    async def work(self) -> MemorySample:
        runs = await self._peers.dispatcher.request(MemoryLimitedRuns(), timeout=None)
        return await self._resource_monitor.sample(runs)

    def round_ended(self, result: MemorySample) -> None:
        super().round_ended(result)
        self._peers.dispatcher.tell(MemoryMeasured(sample=result))
