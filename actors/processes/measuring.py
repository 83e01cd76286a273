"""What runs and their machine use, and what the kernel says of those it has killed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

import psutil

from ..domain.errors import KeeperError
from ..domain.ids import ClaimKey
from ..domain.memory import MemorySample
from ..domain.ports import Launcher
from ..domain.process import ProcessIdentity
from . import cgroups
from .tree import measure


class ProcessMeasure:
    """The Measure port, over psutil and cgroups. The runs are those of the launcher's keeper."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def sample(self) -> MemorySample:
        """See Measure.sample. In a thread: it takes milliseconds for each hundred processes."""
        try:
            kept = await self._launcher.table()
        except KeeperError:  # it is being replaced; the machine is measured all the same
            kept = []
        runs = {run.key: run.identity for run in kept if run.exit is None}
        return await asyncio.to_thread(_sample, runs)

    def witness(self, pid: int) -> CgroupWitness:
        """See Measure.witness."""
        return CgroupWitness(cgroups.of_process(pid))


class CgroupWitness:
    """The KernelWitness port: counts what the kernel killed in the cgroup of a process.

    Others may live in that cgroup. What was killed before the last two looks is no evidence for
    what ends now, so the fewer the seconds between looks, the less can be mistaken.
    """

    def __init__(self, cgroup: cgroups.Cgroup | None) -> None:
        self._cgroup = cgroup
        self._counts: deque[int | None] = deque(maxlen=2)
        self.look()

    def look(self) -> None:
        """See KernelWitness.look."""
        self._counts.append(self._count())

    def saw_a_kill(self) -> bool:
        """See KernelWitness.saw_a_kill."""
        before, now = self._counts[0], self._count()
        return before is not None and now is not None and now > before

    def _count(self) -> int | None:
        return None if self._cgroup is None else self._cgroup.kernel_kills()


def _sample(runs: Mapping[ClaimKey, ProcessIdentity]) -> MemorySample:
    own = cgroups.of_process()
    container = None if own is None else own.used_percent()
    return MemorySample(
        host_percent=max(psutil.virtual_memory().percent, container or 0.0),
        runs={key: usage.memory_bytes for key, usage in measure(runs).items()} if runs else {},
    )
