"""Runs whose ``process.json`` cannot be understood: found by their marker while they live."""

from __future__ import annotations

import os
import re

from . import cgroup, procfs
from .constants import RECORD_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .procfs import Stat
    from .protocol import Frame
    from .spawn import Host

MAX_OUTPUT = 16 * 1024 * 1024
"""Bytes kept of the output of a run whose bound is not known any more."""


def salvage(folders: Iterable[str], host: Host) -> Iterator[tuple[str, Frame]]:
    """Those of the runs' ``folders`` of which something lives, each with a note of what is seen.

    The run's own process is the oldest one that leads a session. If that is over, the oldest of
    what it has left stands for it.
    """
    wanted = {os.path.basename(folder): folder for folder in folders}
    oldest: dict[str, Stat] = {}
    for stat in procfs.processes() if wanted else ():
        key = procfs.marker(stat.pid) if stat.alive else None
        if key in wanted and (key not in oldest or _place(stat) < _place(oldest[key])):
            oldest[key] = stat
    for key, stat in oldest.items():
        yield wanted[key], _note(key, stat, host)


def _place(stat: Stat) -> tuple[bool, int, int]:
    return (stat.pid != stat.session, stat.start, stat.pid)


def _note(key: str, stat: Stat, host: Host) -> Frame:
    group = cgroup.of_run(stat.pid, key)
    return {
        "format": RECORD_FORMAT,
        "key": key,
        "pid": stat.pid,
        "start_ticks": stat.start,
        "boot_id": host.boot_id,
        "pid_namespace": host.pid_namespace,
        "pipe": _pipe(stat.pid),
        "temp_dir": None,
        "temp_dir_identity": None,
        "cgroup": None if group is None else group.path,
        "max_output_bytes": MAX_OUTPUT,
        "end_leftovers": True,
    }


def _pipe(pid: int) -> int | None:
    """The inode of the pipe that it prints to."""
    try:
        found = re.fullmatch(r"pipe:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/1"))
    except OSError:  # just over
        return None
    return None if found is None else int(found[1])
