"""The runs of a former keeper: found on disk, and watched as far as the kernel allows.

If the record of a run is broken, the run is found by its marker while it lives.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator

from . import cgroup, procfs
from .process_scan import ProcessScan
from .procfs import Stat
from .protocol import Frame
from .runs import Runs
from .table import Run, exit_of_former, rebooted, recorded, still_there

MAX_OUTPUT = 16 * 1024 * 1024
"""Bytes of output that are kept for a run whose own bound is unknown."""


def resume_all(runs: Runs, runs_folder: str) -> None:
    """Resumes every recorded run, and those with a broken record that live."""
    unknown = []
    for folder, note in recorded(runs_folder):
        if note is None:
            unknown.append(folder)
        else:
            resume(runs, folder, note)
    for folder, note in living_unrecorded(unknown) if unknown else ():
        print(f"{note['key']}: its record is broken, but it lives", file=sys.stderr)
        resume(runs, folder, note)


def resume(runs: Runs, folder: str, note: Frame) -> Run:
    """Resumes one run, which has ended, is lost, or lives."""
    pipe = _open_pipe(note) if still_there(note) else None
    run = Run(folder, note, pipe, ours=False)
    ended = exit_of_former(folder)
    restarted = rebooted(note)
    if ended is not None:
        run.take_exit(ended)
        run.swept = run.swept or restarted
        runs.add(run)
        if not run.swept:
            runs.go_on(run)
    elif restarted:  # no process that runs now belongs to it
        run.exit = {"code": None}
        run.exit_position = run.output.position
        run.rebooted = run.swept = True
        runs.add(run)
        runs.record(run)
    else:
        runs.add(run)
        runs.look(run)
    return run


def living_unrecorded(folders: Iterable[str]) -> Iterator[tuple[str, Frame]]:
    """Finds which of the runs' ``folders`` have living processes, and makes a note for each.

    The run's own process is the oldest one that leads a session. If that has ended, the oldest of
    the others stands for it.
    """
    scan = ProcessScan.take()
    for folder in folders:
        key = os.path.basename(folder)
        if living := scan.marked(key):
            yield folder, _note(key, min(living, key=_precedence))


def _precedence(stat: Stat) -> tuple[bool, int, int]:
    return (stat.pid != stat.session, stat.start, stat.pid)


def _note(key: str, stat: Stat) -> Frame:
    group = cgroup.of_run(stat.pid, key)
    return {
        "key": key,
        "pid": stat.pid,
        "start_ticks": stat.start,
        "boot_id": procfs.boot_id(),
        "pid_namespace": procfs.pid_namespace(),
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
