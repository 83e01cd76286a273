"""What runs and their machine use, and what the kernel says of those it has killed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from weakref import WeakValueDictionary

import psutil

from ..domain.ids import ClaimKey
from ..domain.memory import MemorySample
from ..domain.process import ProcessIdentity
from .memory_cgroup import MemoryCgroup, memory_cgroup_of
from .tree import MeasuredTree, measure


class PsutilResourceMonitor:
    """The ResourceMonitor port, over psutil, control groups and a scan of all processes.

    Owns: _trees (what is known of the runs measured last), _kills (counts, as long as a detector
    needs them; the runs of one service are in one control group and share its count).
    """

    def __init__(self) -> None:
        self._trees: dict[ClaimKey, MeasuredTree] = {}
        self._kills: WeakValueDictionary[MemoryCgroup, KillCount] = WeakValueDictionary()

    async def sample(self, runs: Mapping[ClaimKey, ProcessIdentity]) -> MemorySample:
        """In a thread: it takes milliseconds for each hundred processes."""
        return await asyncio.to_thread(self._sample, runs, list(self._kills.values()))

    def oom_detector(self, pid: int) -> CgroupOomDetector:
        group = memory_cgroup_of(pid)
        if group is None:
            return CgroupOomDetector(None)
        count = self._kills.get(group)
        if count is None:
            count = self._kills[group] = KillCount(group)
        return CgroupOomDetector(count)

    def _sample(
        self, runs: Mapping[ClaimKey, ProcessIdentity], counts: list[KillCount]
    ) -> MemorySample:
        for count in counts:
            count.look()
        known = self._trees
        self._trees = {
            key: known.get(key) or MeasuredTree(key, process) for key, process in runs.items()
        }
        own = memory_cgroup_of()
        container = None if own is None else own.used_percent()
        return MemorySample(
            host_percent=max(psutil.virtual_memory().percent, container or 0.0),
            runs=measure(self._trees),
        )


class KillCount:
    """How many processes the kernel has killed in one control group, and had at the last looks.

    What was killed before the last two looks is no evidence for what ends now, so the fewer the
    seconds between looks, the less can be mistaken.
    """

    def __init__(self, group: MemoryCgroup) -> None:
        self._group = group
        self._looks = deque([self.now()], maxlen=2)

    def look(self) -> None:
        """Called in a rhythm, from any thread."""
        self._looks.append(self.now())

    def now(self) -> int:
        """The count; 0 where the kernel does not tell it."""
        return self._group.kernel_kills() or 0

    @property
    def before(self) -> int:
        """The count before the last look."""
        return self._looks[0]


class CgroupOomDetector:
    """The OomDetector port: counts what the kernel killed in the control group of a process.

    Others may live in that group.
    """

    def __init__(self, kills: KillCount | None) -> None:
        self._kills = kills
        self._at_start = 0 if kills is None else kills.now()

    def oom_killed(self) -> bool:
        kills = self._kills
        return kills is not None and kills.now() > max(self._at_start, kills.before)
