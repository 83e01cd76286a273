"""The keeper's table: the state of each run, and its records on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from . import cgroup, files, procfs
from .constants import CONCLUSION_FILE, EXIT_FILE, FORGOTTEN_FILE, PROCESS_FILE, RECORD_FORMAT
from .control import ControlChannel
from .output import Output
from .protocol import Frame

Kinds = Mapping[str, type | tuple[type, ...]]

FIRST_LOOK_AGAIN = 0.005
"""Seconds between the first two looks at an ending run."""


class Ending:
    """The order to end one tree, and its progress."""

    def __init__(self, number: int, deadline: float) -> None:
        self.number = number
        self.deadline = deadline
        """SIGKILL is sent from then on (loop's clock)."""
        self.signalled = False
        self.killing = False
        self.pause = FIRST_LOOK_AGAIN
        self.due = 0.0
        self.empty_looks = 0
        """Scans in a row without members, although the kernel says that some are there."""


class Run:
    """One claim's process. ``note`` is its ``process.json``, ``exit`` how it ended.

    Its output is read from ``pipe``.
    """

    def __init__(self, folder: str, note: Frame, pipe: int | None, *, ours: bool) -> None:
        self.folder = folder
        self.note = note
        self.key: str = note["key"]
        self.pid: int = note["pid"]
        self.start: int = note["start_ticks"]
        self.output = Output(folder, note.get("max_output_bytes", 0), pipe)
        self.cgroup = cgroup.noted(note.get("cgroup"), self.key)
        self.ours = ours
        """Whether it is the keeper's own child; a former keeper's child is only watched."""
        self.exit: Frame | None = None
        self.conclusion = conclusion_of(folder)
        """What the engine said came of its run; the first word counts."""
        self.exit_position = 0
        """The position of the output when the process ended: all that it printed itself."""
        self.swept = False
        self.rebooted = False
        self.leftovers: dict[tuple[int, int], str] = {}
        """What had to be ended after the run: pid and start -> name, which holds no secrets."""
        self.known: set[tuple[int, int]] = set()
        self.ending: Ending | None = None
        self.control: ControlChannel | None = None
        self.forgotten = False
        self.is_unrecorded = False
        """Whether its end could not be written yet."""
        self.pid_given_away = False
        """Whether the kernel has given the pid to another process since."""

    @property
    def has_receipt(self) -> bool:
        """Whether the engine is through with its run and only its process has yet to end."""
        said = self.conclusion
        return said is not None and said["disposition"] != "INTENT_ACKNOWLEDGED"

    @property
    def ends_leftovers(self) -> bool:
        """Whether processes that outlive it are ended."""
        return self.note.get("end_leftovers", True) is not False

    def row(self) -> Frame:
        """Its row in the table, as it is sent to the worker."""
        return {
            "key": self.key,
            "folder": self.folder,
            "pid": self.pid,
            "start_ticks": self.start,
            "boot_id": self.note["boot_id"],
            "pid_namespace": self.note["pid_namespace"],
            "exit": self.exit,
            "conclusion": self.conclusion,
            "exit_position": self.exit_position,
            "swept": self.swept,
            "rebooted": self.rebooted,
            "leftovers": [[pid, name] for (pid, _), name in self.leftovers.items()],
            "position": self.output.position,
            "control": self.control is not None and self.control.connected,
        }

    def take_exit(self, content: Frame) -> None:
        """Takes the end that a former keeper recorded."""
        self.exit = {"code": content["code"]}
        self.exit_position = content.get("position", self.output.position)
        self.swept = content.get("swept") is True
        self.rebooted = content.get("rebooted") is True
        self.leftovers = {(pid, 0): name for pid, name in content.get("leftovers", ())}

    def save_conclusion(self) -> None:
        """Records what the engine said. Raises OSError."""
        content = {"format": RECORD_FORMAT, **(self.conclusion or {})}
        files.replace(self.folder, CONCLUSION_FILE, content)

    def save_exit(self) -> None:
        """Records the end on disk. Raises OSError."""
        content = {
            "format": RECORD_FORMAT,
            "key": self.key,
            **(self.exit or {}),
            "position": self.exit_position,
            "swept": self.swept,
            "rebooted": self.rebooted,
            "leftovers": [[pid, name] for (pid, _), name in self.leftovers.items()],
        }
        files.replace(self.folder, EXIT_FILE, content)


def recorded(runs_folder: str) -> Iterator[tuple[str, Frame | None]]:
    """Yields the folder of every claim that is not forgotten, and its ``process.json``.

    None where there is none (the run was not started), or it is not valid.
    """
    try:
        names = sorted(os.listdir(runs_folder))
    except OSError:
        return
    for name in names:
        folder = os.path.join(runs_folder, name)
        forgotten = os.path.exists(os.path.join(folder, FORGOTTEN_FILE))
        if not forgotten and files.is_own_folder(folder):
            yield folder, note_of(folder)


def note_of(folder: str) -> Frame | None:
    """The folder's ``process.json``; None when there is none, or it is not valid."""
    needed: Kinds = {
        **dict.fromkeys(("key", "boot_id", "pid_namespace"), str),
        **dict.fromkeys(("pid", "start_ticks"), int),
    }
    others: Kinds = {
        "max_output_bytes": int,
        "temp_dir": (str, type(None)),
        "temp_dir_identity": (list, type(None)),
    }
    note = _read(folder, PROCESS_FILE, {**needed, **others})
    return note if note is not None and needed.keys() <= note.keys() else None


def exit_of_former(folder: str) -> Frame | None:
    """The folder's ``exit.json``; None when there is none, or it is not valid."""
    kinds: Kinds = {
        "code": (int, type(None)),
        "position": int,
        "leftovers": list,
    }
    ended = _read(folder, EXIT_FILE, kinds)
    if ended is None or "code" not in ended:
        return None
    return ended if all(map(_is_leftover, ended.get("leftovers", ()))) else None


def conclusion_of(folder: str) -> Frame | None:
    """The folder's ``conclusion.json``; None when there is none, or it is not valid."""
    kinds: Kinds = {"disposition": str, "state_name": (str, type(None))}
    said = _read(folder, CONCLUSION_FILE, kinds)
    return said if said is not None and kinds.keys() <= said.keys() else None


def _is_leftover(entry: object) -> bool:
    return isinstance(entry, list) and [type(part) for part in entry] == [int, str]


def _read(folder: str, name: str, kinds: Kinds) -> Frame | None:
    """A record whose fields, if they are there, have the right type."""
    content = files.read(folder, name)
    if content is None or content.get("format") != RECORD_FORMAT:
        return None
    fits = all(isinstance(content[name], kinds[name]) for name in kinds if name in content)
    return content if fits else None


def still_there(note: Frame) -> bool:
    """Whether the noted process exists: same boot, pid namespace, start and marker."""
    if rebooted(note):
        return False
    found = procfs.stat(note["pid"])
    if found is None or not found.alive or found.start != note["start_ticks"]:
        return False
    # A process may have written its title over its environment: silence is no contradiction.
    return procfs.marker(note["pid"]) in (note["key"], None)


def rebooted(note: Frame) -> bool:
    """Whether the machine or container was restarted since the process was started."""
    here = (procfs.boot_id(), procfs.pid_namespace())
    return (note["boot_id"], note["pid_namespace"]) != here
