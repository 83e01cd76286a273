"""Memory as a test says it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from actors.domain.ids import ClaimKey
from actors.domain.process import MemorySample, ProcessIdentity


@dataclass
class ScriptedResourceMonitor:
    """The ResourceMonitor port. ``failure`` makes samples fail."""

    host_percent: float = 10.0
    runs: dict[ClaimKey, int] = field(default_factory=dict)
    kernel_kills: Counter[int] = field(default_factory=Counter)
    """By pid."""
    failure: Exception | None = None
    samples: int = 0
    asked: set[ClaimKey] = field(default_factory=set)
    """The runs that were ever measured."""
    kills_before: Counter[int] = field(default_factory=Counter)
    """As of the last sample."""

    async def sample(self, runs: Mapping[ClaimKey, ProcessIdentity]) -> MemorySample:
        self.samples += 1
        if self.failure is not None:
            raise self.failure
        self.asked.update(runs)
        self.kills_before = self.kernel_kills.copy()
        return MemorySample(
            host_percent=self.host_percent,
            runs={key: self.runs[key] for key in runs if key in self.runs},
        )

    def oom_detector(self, pid: int) -> Callable[[], bool]:
        """Every kill since the last sample is evidence."""
        at_start = self.kernel_kills[pid]
        return lambda: self.kernel_kills[pid] > max(at_start, self.kills_before[pid])
