"""Ends process trees: a signal, the grace period, then SIGKILL until nothing is left.

One scan of all processes serves all runs that are ending. Scans take a fifth of one CPU at most,
however many runs end at once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from .loop import Loop, Timer
from .process_scan import ProcessScan, send, send_group
from .procfs import Stat
from .table import FIRST_LOOK_AGAIN, Ending, Run

LAST_LOOK_AGAIN = 0.25
"""Seconds that the pause between looks at one ending run grows to; it doubles each time."""

MOST_EMPTY_LOOKS = 20
"""After so many, what is left of the group is invisible, such as zombies of another parent."""

MOST_LEFTOVERS = 100
"""More are ended and not counted."""

LOOK_SHARE = 4
"""A scan is followed by a pause of at least so many times its own duration."""


class Endings:
    """Owns: _runs (those that are ending), _timer and _rest_until (when to scan next)."""

    def __init__(self, loop: Loop, finished: Callable[[Run], None]) -> None:
        self._loop = loop
        self._finished = finished
        self._runs: dict[str, Run] = {}
        self._timer: Timer | None = None
        self._rest_until = 0.0

    def order(self, run: Run, number: int, deadline: float) -> None:
        """Ends the tree of ``run``: ``number`` now, SIGKILL from ``deadline`` on (loop's clock).

        Ordered again, the signal is sent again and the earlier deadline counts.
        """
        if run.ending is not None:
            deadline = min(deadline, run.ending.deadline)
        run.ending = Ending(number, deadline)
        self._runs[run.key] = run
        self._schedule()

    def sweep(self, run: Run, grace: float) -> None:
        """Ends what is left after the run's own process, unless that was ordered already."""
        if run.ending is None:
            self.order(run, signal.SIGTERM, self._loop.now() + grace)
        else:
            self.hurry()

    def hurry(self) -> None:
        """Looks again soon, since a process ended that may have been the last of its tree."""
        for run in self._runs.values():
            if run.ending is not None:
                run.ending.due = min(run.ending.due, self._loop.now() + FIRST_LOOK_AGAIN)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        dues = [run.ending.due for run in self._runs.values() if run.ending is not None]
        if dues:
            at = max(min(dues), self._rest_until)
            self._timer = self._loop.call_later(max(0.0, at - self._loop.now()), self._look)

    def _look(self) -> None:
        self._timer = None
        began = self._loop.now()
        scan = ProcessScan.take(os.getpid())
        for run in list(self._runs.values()):
            self._go_on(run, scan)
        now = self._loop.now()
        self._rest_until = now + LOOK_SHARE * (now - began)
        self._schedule()

    def _go_on(self, run: Run, scan: ProcessScan) -> None:
        ending = run.ending
        assert ending is not None
        members = scan.members(run)
        now = self._loop.now()
        if members:
            ending.empty_looks = 0
        elif run.exit is not None and (
            scan.is_settled(run) or ending.empty_looks >= MOST_EMPTY_LOOKS
        ):
            del self._runs[run.key]
            run.ending = None
            self._finished(run)
            return
        else:
            ending.empty_looks += 1
        if now >= ending.deadline:
            if not ending.killing:
                ending.killing = True
                ending.pause = FIRST_LOOK_AGAIN
            self._note_leftovers(run, members)
            if run.cgroup is not None:
                run.cgroup.kill()
            _signal_all(scan, members, signal.SIGKILL)
        elif not ending.signalled:
            ending.signalled = True
            self._note_leftovers(run, members)
            _signal_all(scan, members, ending.number)
            for stat in members:
                if stat.stopped:  # it acts on the signal once it is continued
                    send(stat, signal.SIGCONT)
        ending.due = now + ending.pause
        if not ending.killing:
            ending.due = min(ending.due, ending.deadline)
        ending.pause = min(ending.pause * 2, LAST_LOOK_AGAIN)

    def _note_leftovers(self, run: Run, members: list[Stat]) -> None:
        if run.exit is None:
            return
        for stat in members:
            if len(run.leftovers) < MOST_LEFTOVERS:
                run.leftovers[stat.pid, stat.start] = stat.command


def _signal_all(scan: ProcessScan, members: list[Stat], number: int) -> None:
    """Signals each member once: whole groups at once, the others one by one."""
    whole = scan.whole_groups(members)
    reached = {group for group in whole if send_group(group, members, number)}
    for stat in members:
        if stat.pgrp not in reached:
            send(stat, number)
