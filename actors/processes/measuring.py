"""What runs and their machine use, and what the kernel says of those it has killed."""

from __future__ import annotations

import asyncio
import contextlib
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

TABLE_SECONDS = 2.0
"""A keeper that takes longer to tell its runs is being replaced, or hangs."""


class ProcessMeasure:
    """The Measure port, over psutil and cgroups. The runs are those of the launcher's keeper.

    Owns: _runs (as the keeper told them last). While it is silent these and the machine are
    measured: an identity is checked anew each time, so whoever has ended meanwhile counts nothing.
    """

    def __init__(self, launcher: Launcher, *, table_seconds: float = TABLE_SECONDS) -> None:
        self._launcher = launcher
        self._table_seconds = table_seconds
        self._runs: dict[ClaimKey, ProcessIdentity] = {}

    async def sample(self) -> MemorySample:
        """See Measure.sample. In a thread: it takes milliseconds for each hundred processes."""
        with contextlib.suppress(KeeperError, TimeoutError):
            async with asyncio.timeout(self._table_seconds):
                kept = await self._launcher.table()
            self._runs = {run.key: run.identity for run in kept if run.exit is None}
        return await asyncio.to_thread(_sample, self._runs)

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
