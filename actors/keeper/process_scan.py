"""Which process belongs to which run: one scan of all processes serves all runs.

A process belongs to a run by the run's marker in its environment, by descent from the run's own
process, by its session, by the run's control group, or because an earlier scan found it. Descent
and session alone count only below the run's living process, or below the keeper, which is the
subreaper of all orphans of its runs. A marker of another run outweighs all of this except the
control group, which no process enters by chance. So only processes of the run are signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

from . import procfs
from .cgroup import Cgroup
from .procfs import Stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Tree(Protocol):
        """What a scan needs to know of a run."""

        key: str
        pid: int
        start: int
        cgroup: Cgroup | None
        ours: bool
        known: set[tuple[int, int]]
        """The members that the last scan found, by pid and start."""
        pid_given_away: bool
        """Whether the kernel has reused the pid; scans set it."""

        @property
        def exit(self) -> object:
            """How its own process ended; None while it lives."""


class ProcessScan:
    """The processes of one scan, indexed."""

    def __init__(self, stats: Iterable[Stat], markers: dict[int, str], keeper: int | None) -> None:
        self._stats = {stat.pid: stat for stat in stats}
        self._children: dict[int, list[Stat]] = {}
        self._sessions: dict[int, list[Stat]] = {}
        self._marked: dict[str, list[Stat]] = {}
        for stat in self._stats.values():
            self._children.setdefault(stat.parent, []).append(stat)
            self._sessions.setdefault(stat.session, []).append(stat)
            if stat.pid in markers:
                self._marked.setdefault(markers[stat.pid], []).append(stat)
        self._markers = markers
        below = [] if keeper is None else self._descendants([keeper])
        self._below_keeper = {stat.pid for stat in below}

    @classmethod
    def take(cls, keeper: int | None = None) -> ProcessScan:
        """Looks at all processes now. ``keeper``: its pid, needed for runs that have ended."""
        stats = [stat for stat in procfs.processes() if stat.pid != keeper and not stat.kernel]
        found = {stat.pid: procfs.marker(stat.pid) for stat in stats if stat.alive}
        markers = {pid: key for pid, key in found.items() if key is not None}
        return cls(stats, markers, keeper)

    def marked(self, key: str) -> list[Stat]:
        """The living processes whose environment names the run ``key``."""
        return self._marked.get(key, [])

    def members(self, run: Tree) -> list[Stat]:
        """The living processes of the run, its own one first."""
        root = self._stats.get(run.pid)
        if root is not None and root.start != run.start:
            run.pid_given_away = True
        if root is not None and (root.start != run.start or run.exit is not None):
            root = None
        found = {stat.pid: stat for stat in self.marked(run.key)}
        places = ((self._stats.get(pid), start) for pid, start in run.known)
        known = [stat for stat, start in places if stat is not None and stat.start == start]
        for stat in (*known, *self._of_session(run, root)):
            if self._may_be(stat, run):
                found[stat.pid] = stat
        # Read after the scan: a pid that was reused in between has another start.
        grouped = set() if run.cgroup is None else run.cgroup.pids()
        found.update({pid: self._stats[pid] for pid in grouped & self._stats.keys()})
        if root is None and not self._stats and run.ours and run.exit is None:
            root = procfs.unread(run.pid)
        if root is not None:
            found[root.pid] = root
        roots = [stat.pid for stat in found.values()]
        for stat in self._descendants(roots):
            if self._may_be(stat, run):
                found[stat.pid] = stat
        alive = [stat for stat in found.values() if stat.alive]
        run.known = {(stat.pid, stat.start) for stat in alive}
        return sorted(alive, key=lambda stat: stat.pid != run.pid)

    def is_settled(self, run: Tree) -> bool:
        """Whether a scan that found no member may be believed.

        Not while somebody is in the run's control group. A process that keeps forking can be
        missed by every scan, but the kernel always knows whether the run's process group is empty.
        If the scan shows members of that group, they are others': its number was reused.
        """
        if run.cgroup is not None and run.cgroup.populated:
            return False
        try:
            os.killpg(run.pid, 0)
        except (ProcessLookupError, PermissionError):
            return True
        return any(stat.pgrp == run.pid and stat.alive for stat in self._stats.values())

    def whole_groups(self, members: list[Stat]) -> set[int]:
        """The process groups that consist of ``members`` only, so that killpg(2) is safe."""
        ours = {stat.pid for stat in members}
        groups = {stat.pgrp for stat in members}
        foreign = {stat.pgrp for stat in self._stats.values() if stat.pid not in ours}
        return groups - foreign - {0, os.getpgrp()}

    def _may_be(self, stat: Stat, run: Tree) -> bool:
        """Whether no marker says that the process belongs to another run."""
        return self._markers.get(stat.pid, run.key) == run.key

    def _of_session(self, run: Tree, root: Stat | None) -> list[Stat]:
        """The processes in the session that the run's own process has made.

        The kernel does not reuse the number of a session that has members. So once another process
        has the run's pid, the run's session is empty: a session of that number belongs to the
        other process, which has no marker at its start.
        """
        if run.pid_given_away:
            return []
        session = self._sessions.get(run.pid, [])
        return [stat for stat in session if root is not None or stat.pid in self._below_keeper]

    def _descendants(self, roots: list[int]) -> list[Stat]:
        found: dict[int, Stat] = {}
        pending = list(roots)
        while pending:
            for stat in self._children.get(pending.pop(), []):
                if stat.pid not in found:
                    found[stat.pid] = stat
                    pending.append(stat.pid)
        return list(found.values())


def send(member: Stat, number: int) -> None:
    """Signals exactly this process: if its pid was reused, nobody gets the signal."""
    handle = None
    with contextlib.suppress(AttributeError, OSError):  # an old kernel, or no descriptor left
        handle = os.pidfd_open(member.pid)
    try:
        if _same(member):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if handle is None:
                    os.kill(member.pid, number)
                else:
                    signal.pidfd_send_signal(handle, number)
    finally:
        if handle is not None:
            os.close(handle)


def send_group(group: int, members: list[Stat], number: int) -> bool:
    """Signals a whole group at once, so that no fork escapes; False when it is gone."""
    if not any(stat.pgrp == group and _same(stat) for stat in members):
        return False
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _same(member: Stat) -> bool:
    if member.start == procfs.UNREAD:  # our own child, not reaped yet: its pid is not reused
        return True
    now = procfs.stat(member.pid)
    return now is not None and now.start == member.start
