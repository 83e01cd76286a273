"""What a run's whole tree uses, as the worker sees it. Measuring only: the keeper ends trees."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import psutil

from ..domain.ids import ClaimKey
from ..domain.process import ProcessIdentity
from .keeper import procfs


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

    Found by descent and session. One look at all processes serves all runs (about 10 ms on a
    machine with 500), and a process that vanishes meanwhile counts nothing.
    """
    parents = {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid"])}
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    sessions = _sessions(parents)
    return {
        key: _sum(_tree(identity.pid, children, sessions)) if _is(identity) else TreeUsage()
        for key, identity in runs.items()
    }


def _sessions(pids: Iterable[int]) -> dict[int, list[int]]:
    sessions: dict[int, list[int]] = {}
    for pid in pids:
        try:
            sessions.setdefault(os.getsid(pid), []).append(pid)
        except (ProcessLookupError, PermissionError):
            continue
    return sessions


def _tree(
    root: int, children: Mapping[int, list[int]], sessions: Mapping[int, list[int]]
) -> set[int]:
    found = {root, *sessions.get(root, ())}
    pending = list(found)
    while pending:
        for pid in children.get(pending.pop(), ()):
            if pid not in found:
                found.add(pid)
                pending.append(pid)
    return found


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
