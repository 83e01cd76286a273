"""Control groups (cgroups(7)): finds the group of a process, and makes one for each run.

A process that sheds its ancestry, session and environment is still in its group. Only children of
the keeper enter a run's group, so what is in it belongs to the run. This takes version 2 without
controllers, so the groups of runs may lie below the keeper's own, which has processes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from .procfs import read

_PROCESSES = "cgroup.procs"


class Cgroup:
    """The group of one run, by its folder. A missing group is like an empty one."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def enter(self) -> None:
        """Moves this process into the group if it can, and so all that it will start."""
        with contextlib.suppress(OSError):
            _write(os.path.join(self.path, _PROCESSES), b"0")

    def leave(self) -> None:
        """Moves this process back to the keeper's group, and removes this one."""
        keepers = os.path.dirname(os.path.dirname(self.path))
        with contextlib.suppress(OSError):
            _write(os.path.join(keepers, _PROCESSES), b"0")
        self.remove()

    def pids(self) -> set[int]:
        """The processes in it, and in groups below it that the run may have made."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self.path):
            found.update(map(int, read(os.path.join(folder, _PROCESSES)).split()))
        return found

    @property
    def populated(self) -> bool:
        """Whether a process that is no zombie is in it or below it."""
        return b"populated 1" in read(os.path.join(self.path, "cgroup.events"))

    def kill(self) -> None:
        """Sends SIGKILL to all of it at once, which no fork escapes; needs Linux 5.14."""
        with contextlib.suppress(OSError):
            _write(os.path.join(self.path, "cgroup.kill"), b"1")

    def remove(self) -> None:
        """Removes the group unless it is in use, and its parent if it was the last one there."""
        if self.populated:
            return
        with contextlib.suppress(OSError):
            for folder, _, _ in os.walk(self.path, topdown=False):
                os.rmdir(folder)
            os.rmdir(os.path.dirname(self.path))


class Cgroups:
    """The groups of a state folder's runs, below the group ``own`` where there can be any.

    Owns: _folder (named after the identity of ``state``, which may be renamed), _refused.
    """

    def __init__(self, state: str, own: str | None) -> None:
        self._folder = None if own is None else os.path.join(own, _name_for(state))
        self._refused = False

    @property
    def possible(self) -> bool:
        """Whether groups can be created here, as far as is known before one is."""
        return self._folder is not None

    def create(self, key: str) -> Cgroup | None:
        """The group of the run ``key``; None where there can be none, which is logged once."""
        if self._folder is None:
            return None
        path = os.path.join(self._folder, key)
        try:
            os.makedirs(self._folder, exist_ok=True)
            with contextlib.suppress(OSError):  # groups with processes may not, except the root
                _write(os.path.join(self._folder, "cgroup.subtree_control"), b"+memory")
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            if not self._refused:
                print(f"a run gets no control group: {error}", file=sys.stderr)
            self._refused = True
            return None
        return Cgroup(path)

    def tidy(self) -> bool:
        """Removes groups without processes: of former keepers, or of processes that were left
        alive.

        False if some remain: a process that was just reaped may still be in one.
        """
        if self._folder is None:
            return True
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                if entry.is_dir():
                    Cgroup(entry.path).remove()
        return not os.path.exists(self._folder)


def noted(path: object, key: str, *, state: str = os.curdir, proc: str = "/proc") -> Cgroup | None:
    """Returns the group in a run's ``process.json``; None unless it can be the one of ``key``.

    This keeper or a former one of the folder ``state`` made it, perhaps from another group.
    A record that somebody else has written could name any folder, with files that are not the
    kernel's.
    """
    if not isinstance(path, str) or os.path.normpath(path) != path:
        return None
    folder, name = os.path.split(path)
    if name != key or os.path.basename(folder) != _name_for(state):
        return None
    mounts = _mounts(os.path.join(proc, "self", "mountinfo"), 2, "")
    is_group = any(path.startswith(mount.rstrip("/") + "/") for _, mount in mounts)
    return Cgroup(path) if is_group else None


def of_run(pid: int, key: str) -> Cgroup | None:
    """The group made for the run ``key``, if the process ``pid`` is in it."""
    seen = (folder for _, folder, _ in folders(pid))
    return next((Cgroup(folder) for folder in seen if os.path.basename(folder) == key), None)


def own_group(proc: str = "/proc") -> str | None:
    """The folder of this process's own group, if groups may be created and filled below it."""
    for _, folder, _ in folders(proc=proc):
        # Moving a process between groups takes write access to their common ancestor.
        processes = os.path.join(folder, _PROCESSES)
        if os.access(folder, os.W_OK | os.X_OK) and os.access(processes, os.W_OK):
            return folder
    return None


def folders(
    pid: int | str = "self", controller: str = "", *, proc: str = "/proc"
) -> Iterator[tuple[int, str, str]]:
    """Finds the group in which ``controller`` counts what the process ``pid`` uses.

    Yields the hierarchy's version, the group's folder, and the folder on which the hierarchy is
    mounted. Without a ``controller`` it is the group of version 2. Mounts are searched, since
    version 2 may lie beside version 1 (``/sys/fs/cgroup/unified``), and a container may see only a
    part of a hierarchy.
    """
    found = _membership(os.path.join(proc, str(pid), "cgroup"), controller)
    if found is None:
        return
    version, path = found
    for root, mount in _mounts(os.path.join(proc, "self", "mountinfo"), version, controller):
        above = root.rstrip("/") + "/"
        inside = (path.rstrip("/") + "/").removeprefix(above)
        if inside.startswith("/") or ".." in inside.split("/"):  # not visible through this mount
            continue
        yield version, os.path.join(mount, inside).rstrip("/"), mount


def _name_for(state: str) -> str:
    found = os.stat(state)
    return f"actor-worker-{found.st_dev:x}-{found.st_ino:x}"


def _membership(file: str, controller: str) -> tuple[int, str] | None:
    """Version and path of the group that a ``/proc/<pid>/cgroup`` names for ``controller``.

    A controller is in the hierarchy of version 2 unless one of version 1 has it.
    """
    second = None
    for line in _lines(file):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller and controller in controllers.split(","):
            return 1, path
        if number == "0":
            second = path
    return None if second is None else (2, second)


def _mounts(mountinfo: str, version: int, controller: str) -> Iterator[tuple[str, str]]:
    """Root and mount point of every mount of the hierarchy (proc_pid_mountinfo(5))."""
    for line in _lines(mountinfo):
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        controllers = rest.rpartition(" ")[2].split(",")  # of version 1, among its options
        first = kind == "cgroup" and controller in controllers
        if kind == "cgroup2" if version == 2 else first:
            root, mount = before.split()[3:5]
            yield root, mount.replace("\\040", " ")


def _lines(path: str) -> list[str]:
    return read(path).decode("utf-8", "surrogateescape").split("\n")


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
