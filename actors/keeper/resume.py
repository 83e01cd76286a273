"""Runs of a former keeper: found on disk, watched as far as the kernel allows."""

from __future__ import annotations

import contextlib
import os
import sys

from .loop import READ
from .recovery import salvage
from .table import LOST, Run, exit_of_former, rebooted, recorded, still_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .loop import Loop
    from .protocol import Frame
    from .runs import Runs
    from .spawn import Host

LOOK_AGAIN = 1.0
"""Seconds between looks at a process that is no child of ours, where there is no pidfd."""


class Resumption:
    """Takes up what a former keeper recorded. Owns nothing: the runs go to ``runs``."""

    def __init__(self, loop: Loop, host: Host, runs: Runs) -> None:
        self._loop = loop
        self._host = host
        self._runs = runs

    def resume_all(self, runs_folder: str) -> None:
        """Take up every recorded run, and what lives of those whose record is broken."""
        unknown = []
        for folder, note in recorded(runs_folder):
            if note is None:
                unknown.append(folder)
            else:
                self.resume(folder, note)
        for folder, note in salvage(unknown, self._host):
            print(f"{note['key']}: its record is broken, but it lives", file=sys.stderr)
            self.resume(folder, note)

    def resume(self, folder: str, note: Frame) -> Run:
        """Take up one run: as it ended, as lost, or as still there."""
        pipe = _open_pipe(note) if still_there(note, self._host) else None
        run = Run.from_note(folder, note, pipe, ours=False)
        ended = exit_of_former(folder)
        restarted = rebooted(note, self._host)
        if ended is not None:
            run.take_exit(ended)
            run.swept = run.swept or restarted
            self._runs.add(run)
            if not run.swept:
                self._runs.go_on(run)
        elif restarted:  # nothing that runs now has anything to do with it
            run.exit = dict(LOST)
            run.exit_position = run.output.position
            run.rebooted = run.swept = True
            self._runs.add(run)
            self._runs.record(run)
        else:
            self._runs.add(run)
            self._watch(run)
        return run

    def _watch(self, run: Run) -> None:
        with contextlib.suppress(OSError, AttributeError):  # an old kernel, another system
            run.pidfd = os.pidfd_open(run.pid)
        if not still_there(run.note, self._host):
            self._runs.lost(run)
        elif run.pidfd is not None:
            self._loop.watch(run.pidfd, READ, lambda _: self._runs.lost(run))
        else:
            self._loop.call_later(LOOK_AGAIN, lambda: self._look(run))

    def _look(self, run: Run) -> None:
        if run.exit is None:
            if still_there(run.note, self._host):
                self._loop.call_later(LOOK_AGAIN, lambda: self._look(run))
            else:
                self._runs.lost(run)


def _open_pipe(note: Frame) -> int | None:
    """The reading end of the run's pipe, by the descriptor under which the run still has it."""
    folder = f"/proc/{note['pid']}/fd"
    with contextlib.suppress(OSError):  # it just ended, or does not let itself be looked at
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.readlink(path) == f"pipe:[{note.get('pipe')}]":
                return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return None
