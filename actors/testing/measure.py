"""Memory as a test says it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..domain.ids import ClaimKey
from ..domain.memory import MemorySample


@dataclass
class ScriptedMeasure:
    """The Measure port. ``failure`` makes samples fail."""

    host_percent: float = 10.0
    runs: dict[ClaimKey, int] = field(default_factory=dict)
    kernel_kills: Counter[int] = field(default_factory=Counter)
    """By pid."""
    failure: Exception | None = None
    samples: int = 0

    async def sample(self) -> MemorySample:
        """See the port."""
        self.samples += 1
        if self.failure is not None:
            raise self.failure
        return MemorySample(host_percent=self.host_percent, runs=dict(self.runs))

    def witness(self, pid: int) -> ScriptedWitness:
        """See the port."""
        return ScriptedWitness(self, pid)


class ScriptedWitness:
    """The KernelWitness port: every kill since the last look is evidence."""

    def __init__(self, measure: ScriptedMeasure, pid: int) -> None:
        self._measure = measure
        self._pid = pid
        self._before = 0
        self.look()

    def look(self) -> None:
        """See the port."""
        self._before = self._measure.kernel_kills[self._pid]

    def saw_a_kill(self) -> bool:
        """See the port."""
        return self._measure.kernel_kills[self._pid] > self._before
