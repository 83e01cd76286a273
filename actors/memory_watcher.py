"""Measures what the machine and runs with a limit use, in a rhythm, and tells the Dispatcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import structlog

from .domain.log_once import LogOnce
from .domain.memory import MemorySample
from .domain.ports import Clock, ResourceMonitor
from .messages.dispatcher import MemoryLimitedRuns, MemoryMeasured
from .runtime import Address, AsyncioActor, Ticker

log = structlog.get_logger("actors.memory_watcher")

PAUSE_SECONDS = 2.0
"""Between two samples. A run may exceed its limit for so long, and for the time of a sample."""


@dataclass(frozen=True, slots=True)
class Sample:
    """To itself: it is time for the next sample."""


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


Message = Sample | MemorySample | _Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryWatcherView:
    """What the MemoryWatcher shows of itself."""

    trouble: str | None
    """Why the last sample failed; None: it did not."""


class MemoryWatcher(AsyncioActor):
    """Owns: the rhythm of samples. What they mean is decided where runs are admitted and ended."""

    def __init__(
        self, *, resource_monitor: ResourceMonitor, clock: Clock, dispatcher: Address
    ) -> None:
        super().__init__(clock=clock)
        self._resource_monitor = resource_monitor
        self._dispatcher = dispatcher
        self._ticker: Ticker | None = None
        self._complaint = LogOnce()

    def inspect(self) -> MemoryWatcherView:
        return MemoryWatcherView(trouble=self._complaint.reported)

    def on_start(self) -> None:
        """The first sample is taken at once, before the first runs are."""
        self._ticker = self.every(lambda: PAUSE_SECONDS, Sample())

    def on_receive(self, message: Message) -> None:
        """A sample takes its time beside the mailbox."""
        assert self._ticker is not None, "messages come after on_start"
        match message:
            case Sample():
                self._ticker.hold()
                self.pipe(self._sample(), on_result=lambda sample: sample, on_error=_Failed)
                return
            case MemorySample():
                if self._complaint.resolve():
                    log.info("memory.measured_again")
                self._dispatcher.tell(MemoryMeasured(sample=message))
            case _Failed(error=error):
                if self._complaint.report(str(error)):
                    log.warning("memory.not_measured", error=str(error) or repr(error))
            case _:
                assert_never(message)
        self._ticker.rearm()

    async def _sample(self) -> MemorySample:
        runs = await self._dispatcher.request(MemoryLimitedRuns(), timeout=None)
        return await self._resource_monitor.sample(runs)
