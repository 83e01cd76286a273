"""How much memory the processes of runs hold. Measuring only: the keeper ends trees."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping

import psutil

from ..domain.ids import ClaimKey
from ..domain.process import ProcessIdentity
from ..keeper import cgroup
from ..keeper.process_scan import Census
from .memory_cgroup import memory_cgroup_of


class MeasuredTree:
    """The processes of one run that lives, as a census knows runs. See keeper/census.py."""

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
    trees: Mapping[ClaimKey, MeasuredTree], *, take_census: Callable[[], Census] = Census.take
) -> dict[ClaimKey, int]:
    """Bytes that the processes of each run hold; a run that is over is left out.

    The kernel has counted them where the run has a memory control group. One census serves all
    other runs (about 20 ms on a machine with 500 processes). A process that vanishes meanwhile
    counts nothing.
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
        census = take_census()
        for key in uncounted:
            members = census.members(trees[key])
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
    """Resident memory; of more processes than one, pages that they share count once.

    That is the proportional set size (proc_pid_smaps(5)), where the kernel tells it.
    """
    if shares:
        with contextlib.suppress(psutil.AccessDenied, AttributeError):
            return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)
