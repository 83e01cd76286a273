"""A control group per run (cgroups(7), version 2), where the keeper may create one.

Who sheds ancestry, session and environment is still in its group, and only the keeper's children
enter one, so what is in it is proved to be the run's. No controllers are enabled, hence groups
with processes may lie below a group with processes, which is the keeper's own.
"""

from __future__ import annotations

import contextlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESSES = "cgroup.procs"


class Cgroup:
    """The group of one run, by its folder. One that is not there is like one that is empty."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def enter(self) -> None:
        """Move this very process into it, and so whatever it will start. Raises OSError."""
        _write(os.path.join(self.path, _PROCESSES), b"0")

    def leave(self) -> None:
        """Move this very process back to where the keeper is, and remove the group."""
        keepers = os.path.dirname(os.path.dirname(self.path))
        with contextlib.suppress(OSError):
            _write(os.path.join(keepers, _PROCESSES), b"0")
        self.remove()

    def pids(self) -> set[int]:
        """The processes in it, and in groups below it that the run may have made."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self.path):
            found.update(map(int, _read(os.path.join(folder, _PROCESSES)).split()))
        return found

    @property
    def populated(self) -> bool:
        """Whether a process that is no zombie is in it or below it."""
        return b"populated 1" in _read(os.path.join(self.path, "cgroup.events"))

    def kill(self) -> None:
        """SIGKILL to all of it at once, which no fork escapes; nothing on kernels before 5.14."""
        with contextlib.suppress(OSError):
            _write(os.path.join(self.path, "cgroup.kill"), b"1")

    def remove(self) -> None:
        """Remove it, and the folder of all groups when it was the last; not while it is in use."""
        if self.populated:
            return
        with contextlib.suppress(OSError):
            for folder, _, _ in os.walk(self.path, topdown=False):
                os.rmdir(folder)
            os.rmdir(os.path.dirname(self.path))


class Cgroups:
    """Owns: _folder (of the groups of one state folder's runs; None where there can be none)."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._refused = False

    @classmethod
    def of(cls, state: str, own: str | None) -> Cgroups:
        """Below the group ``own``, by the identity of the folder ``state``: it may be renamed."""
        found = os.stat(state)
        name = f"actor-worker-{found.st_dev:x}-{found.st_ino:x}"
        return cls(None if own is None else os.path.join(own, name))

    @property
    def possible(self) -> bool:
        """Whether groups can be created here, as far as is known before one is."""
        return self._folder is not None

    def create(self, key: str) -> Cgroup | None:
        """The group of the run ``key``; None where there can be none, which is said once."""
        if self._folder is None:
            return None
        path = os.path.join(self._folder, key)
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            if not self._refused:
                print(f"a run gets no control group: {error}", file=sys.stderr)
            self._refused = True
            return None
        return Cgroup(path)

    def tidy(self) -> bool:
        """Remove the groups that nobody is in: former keepers', or of what was let live.

        False if some are left: a process that was just waited for may still be on its way out.
        """
        if self._folder is None:
            return True
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                if entry.is_dir():
                    Cgroup(entry.path).remove()
        return not os.path.exists(self._folder)


def noted(path: object, key: str) -> Cgroup | None:
    """The group that a run's ``process.json`` names; None unless it is one made for ``key``."""
    named = isinstance(path, str) and os.path.basename(path) == key
    return Cgroup(str(path)) if named else None


def own_group(proc: str = "/proc/self") -> str | None:
    """The folder of this process's own group, if others may be created and filled below it.

    Found by its mount, since version 2 may lie beside version 1 (``/sys/fs/cgroup/unified``) and
    a container may see a part of the hierarchy only.
    """
    groups = _read(os.path.join(proc, "cgroup")).decode("utf-8", "surrogateescape")
    path = next((line[3:] for line in groups.splitlines() if line.startswith("0::")), None)
    if path is None:
        return None
    for root, mount in _mounts(os.path.join(proc, "mountinfo")):
        above = root.rstrip("/") + "/"
        inside = (path.rstrip("/") + "/").removeprefix(above)
        folder = os.path.join(mount, inside).rstrip("/")
        if inside.startswith("/") or ".." in inside.split("/"):  # not to be seen through this one
            continue
        # To move between two groups one must be allowed to write to what is above them.
        if os.access(folder, os.W_OK | os.X_OK) and _may_write(folder):
            return folder
    return None


def _may_write(folder: str) -> bool:
    return os.access(os.path.join(folder, _PROCESSES), os.W_OK)


def _mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Root and place of every version 2 mount (proc_pid_mountinfo(5))."""
    for line in _read(mountinfo).decode("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            root, mount = before.split()[3:5]
            yield root, mount.replace("\\040", " ")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall() or b""
    except OSError:  # removed meanwhile, or one of threads (EOPNOTSUPP)
        return b""


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)
