"""What runs and their machine use, and what the kernel says of those it has killed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Collection, Mapping
from weakref import WeakSet

import psutil

from ..domain.ids import ClaimKey
from ..domain.process import MemorySample, ProcessIdentity
from ..keeper import cgroup
from ..keeper.process_scan import ProcessScan
from .memory_cgroup import MemoryCgroup, memory_cgroup_of


class PsutilResourceMonitor:
    """The ResourceMonitor port, over psutil, control groups and a scan of all processes.

    Owns: _trees (what is known of the runs measured last), _detectors (those in use).
    """

    def __init__(self) -> None:
        self._trees: dict[ClaimKey, MeasuredTree] = {}
        self._detectors: WeakSet[CgroupOomDetector] = WeakSet()

    async def sample(self, runs: Mapping[ClaimKey, ProcessIdentity]) -> MemorySample:
        """In a thread: it takes milliseconds for each hundred processes."""
        return await asyncio.to_thread(self._sample, runs, list(self._detectors))

    def oom_detector(self, pid: int) -> Callable[[], bool]:
        detector = CgroupOomDetector(memory_cgroup_of(pid))
        self._detectors.add(detector)
        return detector.oom_killed

    def _sample(
        self, runs: Mapping[ClaimKey, ProcessIdentity], detectors: list[CgroupOomDetector]
    ) -> MemorySample:
        for detector in detectors:
            detector.look()
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


class CgroupOomDetector:
    """Whether the kernel has just killed in the control group of a process.

    Others may live in that group. What was killed before the last two looks is no evidence for
    what ends now, so the fewer the seconds between looks, the less can be mistaken.
    """

    def __init__(self, group: MemoryCgroup | None) -> None:
        self._group = group
        self._looks = deque([self._kills()], maxlen=2)

    def look(self) -> None:
        """Called in a rhythm, from any thread."""
        self._looks.append(self._kills())

    def oom_killed(self) -> bool:
        return self._kills() > self._looks[0]

    def _kills(self) -> int:
        """How many the kernel has ever killed there; 0 where it does not tell."""
        return 0 if self._group is None else self._group.kernel_kills() or 0


class MeasuredTree:
    """The processes of one run that lives: a Tree of the keeper's process scan."""

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
