"""What a run's whole tree uses, as the worker sees it. Measuring only: the keeper ends trees."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import psutil

from ..domain.ids import ClaimKey
from ..domain.process import ProcessIdentity
from .keeper import cgroup, procfs


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeUsage:
    """Sums over the processes of one run that are there now."""

    processes: int = 0
    cpu_seconds: float = 0.0
    """User and system time so far, of the living processes."""
    memory_bytes: int = 0
    """Resident memory. Of more processes than one, pages that they share count once, where the
    kernel tells (proportional set size, proc_pid_smaps(5))."""


def measure(runs: Mapping[ClaimKey, ProcessIdentity]) -> dict[ClaimKey, TreeUsage]:
    """What each of the runs uses; all zero for one that is over.

    Found by descent, session, marker and control group, as the keeper finds what it ends. One
    look at all processes serves all runs (about 20 ms on a machine with 500), and a process that
    vanishes meanwhile counts nothing.
    """
    look = _Look()
    return {
        key: _sum(look.tree(key, identity.pid)) if _is(identity) else TreeUsage()
        for key, identity in runs.items()
    }


class _Look:
    """All processes at one moment. Owns: indexes by parent, by session and by marker."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        self._sessions: dict[int, list[int]] = {}
        self._marked: dict[str, list[int]] = {}
        self._markers: dict[int, str] = {}
        for process in psutil.process_iter(["ppid"]):
            pid = process.pid
            self._children.setdefault(process.info["ppid"], []).append(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._sessions.setdefault(os.getsid(pid), []).append(pid)
            marker = procfs.marker(pid)
            if marker is not None:
                self._markers[pid] = marker
                self._marked.setdefault(marker, []).append(pid)

    def tree(self, key: ClaimKey, root: int) -> set[int]:
        """The run's processes; those that are marked for another run count for that one."""
        found = {root, *self._marked.get(key, ()), *_grouped(key, root)}
        pending = [*found, *self._unless_foreign(key, self._sessions.get(root, ()))]
        found.update(pending)
        while pending:
            for pid in self._unless_foreign(key, self._children.get(pending.pop(), ())):
                if pid not in found:
                    found.add(pid)
                    pending.append(pid)
        return found

    def _unless_foreign(self, key: ClaimKey, pids: Iterable[int]) -> list[int]:
        return [pid for pid in pids if self._markers.get(pid, key) == key]


def _grouped(key: ClaimKey, root: int) -> set[int]:
    """Who is in the control group that the keeper has made for the run, where it has."""
    group = cgroup.noted(cgroup.own_group(f"/proc/{root}"), key)
    return set() if group is None else group.pids()


def _is(identity: ProcessIdentity) -> bool:
    """Whether the process is there and is the one that is meant."""
    if identity.start_ticks == procfs.UNREAD:
        return psutil.pid_exists(identity.pid)
    found = procfs.stat(identity.pid)
    return found is not None and found.alive and found.start == identity.start_ticks


def _sum(pids: Collection[int]) -> TreeUsage:
    count, cpu, memory = 0, 0.0, 0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                memory += _memory(process, shares=len(pids) > 1)
        except psutil.Error:
            continue
        count += 1
        cpu += times.user + times.system
    return TreeUsage(processes=count, cpu_seconds=cpu, memory_bytes=memory)


def _memory(process: psutil.Process, *, shares: bool) -> int:
    if shares:
        with contextlib.suppress(psutil.AccessDenied, AttributeError):
            return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)
