"""What runs and their machine use, and what the kernel says of those it has killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Mapping
from weakref import WeakValueDictionary

import psutil

from ..domain.ids import ClaimKey
from ..domain.process import MemorySample, ProcessIdentity
from ..keeper import cgroup
from ..keeper.process_scan import ProcessScan
from .memory_cgroup import MemoryCgroup, memory_cgroup_of


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


class MeasuredTree:
    """The processes of one run that lives, as a scan knows runs. See keeper/scan.py."""

    exit = None
    ours = True

    def __init__(self, key: ClaimKey, process: ProcessIdentity) -> None:
        self.key: str = key
        self.pid = process.pid
        self.start = process.start_ticks
        self.cgroup = cgroup.of_run(process.pid, key)
        self.known: set[tuple[int, int]] = set()
        self.pid_given_away = False
        counted = memory_cgroup_of(process.pid)
        is_own = counted is not None and counted.folder.name == key
        self.memory_cgroup = counted if is_own else None
        """The run's own, where its memory is counted apart from that of others."""


def measure(
    trees: Mapping[ClaimKey, MeasuredTree],
    *,
    take_scan: Callable[[], ProcessScan] = ProcessScan.take,
) -> dict[ClaimKey, int]:
    """Bytes that the processes of each run hold; runs that have ended are left out.

    Where a run has a memory control group, the kernel has counted them. One scan serves all other
    runs (about 20 ms on a machine with 500 processes). A process that ends meanwhile counts
    nothing.
    """
    held = {}
    uncounted = []
    for key, tree in trees.items():
        counted = None if tree.memory_cgroup is None else tree.memory_cgroup.held_bytes()
        if counted is None:
            uncounted.append(key)
        else:
            held[key] = counted
    if uncounted:
        scan = take_scan()
        for key in uncounted:
            members = scan.members(trees[key])
            if members:
                held[key] = _sum([stat.pid for stat in members])
    return held


def _sum(pids: Collection[int]) -> int:
    total = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            total += _memory(psutil.Process(pid), shares=len(pids) > 1)
    return total


def _memory(process: psutil.Process, *, shares: bool) -> int:
    """Resident memory; if there are several processes, pages that they share count once.

    That is the proportional set size (proc_pid_smaps(5)), where the kernel tells it.
    """
    if shares:
        with contextlib.suppress(psutil.AccessDenied, AttributeError):
            return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)
