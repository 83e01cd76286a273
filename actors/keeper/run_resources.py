"""What is made for a run before it starts: its temporary directory and its control group."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping

from .cgroup import Cgroup, Cgroups
from .helpers import Helpers
from .protocol import Frame

_NAME = re.compile(r"tmp[0-9a-f]{12}prefect")


class TempDir:
    """A directory that was made for a run. ``identity``: its device and inode, if known.

    Only what can be such a directory is removed, whatever a record says.
    """

    __slots__ = ("identity", "path")

    def __init__(self, path: str, identity: list[int] | None) -> None:
        self.path = path
        self.identity = identity

    @classmethod
    def create(cls, parent: str) -> TempDir:
        """Makes a directory in ``parent``. Raises OSError."""
        path = os.path.join(os.path.abspath(parent), f"tmp{os.urandom(6).hex()}prefect")
        os.mkdir(path, 0o700)
        return cls(path, _identity(os.lstat(path)))

    @classmethod
    def noted(cls, note: Frame) -> TempDir | None:
        """The directory that a ``process.json`` names, if any."""
        path = note.get("temp_dir")
        return None if path is None else cls(path, note.get("temp_dir_identity"))

    def is_ours(self) -> bool:
        """Whether what is there now can be what was made. Raises OSError when nothing is.

        Keepers of older versions did not record the identity: then the owner counts.
        """
        found = os.lstat(self.path)
        if self.identity is None:
            same = found.st_uid == os.geteuid()
        else:
            same = self.identity == _identity(found)
        is_named_so = _NAME.fullmatch(os.path.basename(self.path)) is not None
        return same and is_named_so and os.path.isabs(self.path) and stat.S_ISDIR(found.st_mode)


def _identity(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino]


class RunResources:
    """Owns: temp_dir (None if the run has a directory), cgroup (None where there can be none)."""

    def __init__(self) -> None:
        self.temp_dir: TempDir | None = None
        self.cgroup: Cgroup | None = None

    def prepare(
        self, key: str, env: Mapping[str, str], cgroups: Cgroups, *, temp_dir: bool
    ) -> None:
        """Makes both, for the run ``key`` with the environment ``env``. Raises OSError."""
        if temp_dir:
            self.temp_dir = TempDir.create(env.get("TMPDIR") or "/tmp")
        self.cgroup = cgroups.create(key)

    def enter(self) -> None:
        """In the run's process: enters the group, or goes on without one."""
        if self.cgroup is not None:
            with contextlib.suppress(OSError):
                self.cgroup.enter()

    def leave(self) -> None:
        """In the run's process, if it does not become the command: undoes everything."""
        if self.cgroup is not None:
            self.cgroup.leave()
        self.undo()

    def undo(self) -> None:
        """Removes both, once no process is there."""
        if self.cgroup is not None:
            self.cgroup.remove()
        if self.temp_dir is not None:
            with contextlib.suppress(OSError):
                os.rmdir(self.temp_dir.path)


def remove_temp_dir(directory: TempDir, helpers: Helpers, then: Callable[[], None]) -> None:
    """Removes ``directory`` with all that is in it, then calls ``then``.

    An empty one is removed at once. A full one may hold a repository of any size, so a child does
    it; if there is no process to be had, the directory stays.
    """
    if _is_done_with(directory) or not helpers.start(lambda: _remove_tree(directory.path), then):
        then()


def _is_done_with(directory: TempDir) -> bool:
    """Whether nothing is left to remove."""
    try:
        if not directory.is_ours():
            print(f"{directory.path}: not made for a run, so it stays", file=sys.stderr)
            return True
        os.rmdir(directory.path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_tree(path: str) -> None:
    for _, folders, names, descriptor in os.fwalk(path, topdown=False):
        os.fchmod(descriptor, 0o700)
        for name in names:
            _remove_entry(name, descriptor)
        for name in folders:
            _remove_entry(name, descriptor, folder=True)
    os.rmdir(path)


def _remove_entry(name: str, descriptor: int, *, folder: bool = False) -> None:
    with contextlib.suppress(OSError):
        if folder:
            try:
                os.rmdir(name, dir_fd=descriptor)
            except NotADirectoryError:  # a link to a folder, which os.fwalk counts as one
                os.unlink(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
