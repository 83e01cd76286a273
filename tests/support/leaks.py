"""What a test may leave behind: nothing. Snapshots of this process, before and after."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pykka

KINDS = ("threads", "tasks", "processes", "descriptors", "actors")

_TASKS = Path("/proc/self/task")
_DESCRIPTORS = Path("/proc/self/fd")
_ENDING_THREAD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process has at one moment; each thing with the words to report it by."""

    threads: dict[threading.Thread, str]
    tasks: dict[asyncio.Task[Any], str]
    processes: dict[int, str]
    descriptors: dict[tuple[int, str], str]
    actors: dict[pykka.ActorRef[Any], str]

    @classmethod
    def take(cls) -> Snapshot:
        """Of now. Costs a fraction of a millisecond on Linux."""
        return cls(
            threads={thread: repr(thread) for thread in threading.enumerate()},
            tasks={task: repr(task) for task in _pending_tasks()},
            processes={pid: f"process {pid}" for pid in _children()},
            descriptors={
                (fd, target): f"descriptor {fd}: {target}" for fd, target in _descriptors()
            },
            actors={ref: repr(ref) for ref in pykka.ActorRegistry.get_all()},
        )

    def leftovers(self, keeping: Collection[str] = ()) -> list[str]:
        """What is there now and was not then, in words, without the kinds in ``keeping``.

        What nobody refers to any more is collected and threads about to end are awaited first,
        but only if there is something to complain about.
        """
        found = self.leftovers_now(keeping)
        if not found:
            return []
        gc.collect()
        for thread in threading.enumerate():
            if thread not in self.threads:
                thread.join(_ENDING_THREAD_SECONDS)
        return self.leftovers_now(keeping)

    def leftovers_now(self, keeping: Collection[str] = ()) -> list[str]:
        """As of this moment: nothing is collected or awaited first."""
        now = Snapshot.take()
        return [
            words
            for kind in KINDS
            if kind not in keeping
            for thing, words in getattr(now, kind).items()
            if thing not in getattr(self, kind)
        ]


def _pending_tasks() -> list[asyncio.Task[Any]]:
    """Of all loops, which asyncio only tells privately; the set's name differs by version."""
    older = getattr(asyncio.tasks, "_all_tasks", ())
    known = older or getattr(asyncio.tasks, "_scheduled_tasks", ())
    return [task for task in tuple(known) if not task.done()]


def _children() -> list[int]:
    """Children of this process, zombies included. proc(5): one list per thread that forked."""
    try:
        lists = [(task / "children").read_text() for task in _TASKS.iterdir()]
    except OSError:
        return [child.pid for child in psutil.Process().children()]
    return [int(pid) for pids in lists for pid in pids.split()]


def _descriptors() -> list[tuple[int, str]]:
    if not _DESCRIPTORS.exists():
        return []
    found = []
    for name in os.listdir(_DESCRIPTORS):
        try:
            found.append((int(name), os.readlink(_DESCRIPTORS / name)))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found
