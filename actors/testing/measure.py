"""Memory as a test says it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..domain.ids import ClaimKey
from ..domain.memory import MemorySample
from ..domain.process import ProcessIdentity


@dataclass
class ScriptedMeasure:
    """The Measure port. ``failure`` makes samples fail."""

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
        """See the port."""
        self.samples += 1
        if self.failure is not None:
            raise self.failure
        self.asked.update(runs)
        self.kills_before = self.kernel_kills.copy()
        return MemorySample(
            host_percent=self.host_percent,
            runs={key: self.runs[key] for key in runs if key in self.runs},
        )

    def witness(self, pid: int) -> ScriptedWitness:
        """See the port."""
        return ScriptedWitness(self, pid)


class ScriptedWitness:
    """The KernelWitness port: every kill since the last sample is evidence."""

    def __init__(self, measure: ScriptedMeasure, pid: int) -> None:
        self._measure = measure
        self._pid = pid
        self._at_start = measure.kernel_kills[pid]

    def saw_a_kill(self) -> bool:
        """See the port."""
        before = max(self._at_start, self._measure.kills_before[self._pid])
        return self._measure.kernel_kills[self._pid] > before
