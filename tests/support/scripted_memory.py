"""Memory as a test says it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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

    def oom_detector(self, pid: int) -> ScriptedOomDetector:
        return ScriptedOomDetector(self, pid)


class ScriptedOomDetector:
    """The OomDetector port: every kill since the last sample is evidence."""

    def __init__(self, monitor: ScriptedResourceMonitor, pid: int) -> None:
        self._monitor = monitor
        self._pid = pid
        self._at_start = monitor.kernel_kills[pid]

    def oom_killed(self) -> bool:
        before = max(self._at_start, self._monitor.kills_before[self._pid])
        return self._monitor.kernel_kills[self._pid] > before
