"""The runs of a former keeper: found on disk, and watched as far as the kernel allows.

If the record of a run is broken, the run is found by its marker while it lives.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator

from . import cgroup
from .loop import Loop
from .process_scan import ProcessScan
from .procfs import Stat
from .protocol import Frame
from .runs import Runs
from .spawn import InheritedState
from .table import Run, exit_of_former, rebooted, recorded, still_there

LOOK_AGAIN = 1.0
"""Seconds between looks at a process that is no child of ours."""
MAX_OUTPUT = 16 * 1024 * 1024
"""Bytes of output that are kept for a run whose own bound is unknown."""


class Recovery:
    """Resumes what a former keeper recorded. Owns nothing: the runs go to ``runs``."""

    def __init__(self, loop: Loop, inherited: InheritedState, runs: Runs) -> None:
        self._loop = loop
        self._inherited = inherited
        self._runs = runs

    def resume_all(self, runs_folder: str) -> None:
        """Resumes every recorded run, and those with a broken record that live."""
        unknown = []
        for folder, note in recorded(runs_folder):
            if note is None:
                unknown.append(folder)
            else:
                self.resume(folder, note)
        for folder, note in living_unrecorded(unknown, self._inherited) if unknown else ():
            print(f"{note['key']}: its record is broken, but it lives", file=sys.stderr)
            self.resume(folder, note)

    def resume(self, folder: str, note: Frame) -> Run:
        """Resumes one run, which has ended, is lost, or lives."""
        pipe = _open_pipe(note) if still_there(note, self._inherited) else None
        run = Run(folder, note, pipe, ours=False)
        ended = exit_of_former(folder)
        restarted = rebooted(note, self._inherited)
        if ended is not None:
            run.take_exit(ended)
            run.swept = run.swept or restarted
            self._runs.add(run)
            if not run.swept:
                self._runs.go_on(run)
        elif restarted:  # no process that runs now belongs to it
            run.exit = {"code": None}
            run.exit_position = run.output.position
            run.rebooted = run.swept = True
            self._runs.add(run)
            self._runs.record(run)
        else:
            self._runs.add(run)
            self._look(run)
        return run

    def _look(self, run: Run) -> None:
        """It is no child of ours, so nobody tells us of its end."""
        if run.exit is not None:
            return
        if still_there(run.note, self._inherited):
            self._loop.call_later(LOOK_AGAIN, lambda: self._look(run))
        else:
            self._runs.exited(run, None)


def living_unrecorded(
    folders: Iterable[str], inherited: InheritedState
) -> Iterator[tuple[str, Frame]]:
    """Finds which of the runs' ``folders`` have living processes, and makes a note for each.

    The run's own process is the oldest one that leads a session. If that has ended, the oldest of
    the others stands for it.
    """
    scan = ProcessScan.take()
    for folder in folders:
        key = os.path.basename(folder)
        if living := scan.marked(key):
            yield folder, _note(key, min(living, key=_precedence), inherited)


def _precedence(stat: Stat) -> tuple[bool, int, int]:
    return (stat.pid != stat.session, stat.start, stat.pid)


def _note(key: str, stat: Stat, inherited: InheritedState) -> Frame:
    group = cgroup.of_run(stat.pid, key)
    return {
        "key": key,
        "pid": stat.pid,
        "start_ticks": stat.start,
        "boot_id": inherited.boot_id,
        "pid_namespace": inherited.pid_namespace,
        "pipe": _pipe(stat.pid),
        "cgroup": None if group is None else group.path,
        "max_output_bytes": MAX_OUTPUT,
    }


def _pipe(pid: int) -> int | None:
    """The inode of the pipe that is its stdout."""
    try:
        found = re.fullmatch(r"pipe:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/1"))
    except OSError:  # just over
        return None
    return None if found is None else int(found[1])


def _open_pipe(note: Frame) -> int | None:
    """Opens the reading end of the run's pipe through the run's own descriptor."""
    folder = f"/proc/{note['pid']}/fd"
    with contextlib.suppress(OSError):  # it just ended, or is not readable
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.readlink(path) == f"pipe:[{note.get('pipe')}]":
                return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return None
