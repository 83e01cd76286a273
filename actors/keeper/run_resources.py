"""What is made for a run before it starts: its temporary directory and its control group."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping

from .cgroup import Cgroups
from .helpers import Helpers
from .protocol import Frame

_NAME = re.compile(r"tmp[0-9a-f]{12}prefect")


class TempDir:
    """A directory that was made for a run. ``identity``: its device and inode.

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
        """Whether what is there now can be what was made. Raises OSError when nothing is."""
        found = os.lstat(self.path)
        is_named_so = _NAME.fullmatch(os.path.basename(self.path)) is not None
        same = is_named_so and self.identity == _identity(found)
        return same and os.path.isabs(self.path) and stat.S_ISDIR(found.st_mode)


def _identity(found: os.stat_result) -> list[int]:
    return [found.st_dev, found.st_ino]


class RunResources:
    """Makes temp_dir (None if the run has a directory) and cgroup (None where there can be none).

    ``key`` and ``env`` are the run's. Raises OSError.
    """

    def __init__(
        self, key: str, env: Mapping[str, str], cgroups: Cgroups, *, temp_dir: bool
    ) -> None:
        self.temp_dir = TempDir.create(env.get("TMPDIR") or "/tmp") if temp_dir else None
        self.cgroup = cgroups.create(key)

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
        for name in (*names, *folders):  # os.fwalk counts a link to a folder as one
            for remove in (os.unlink, os.rmdir):
                with contextlib.suppress(OSError):
                    remove(name, dir_fd=descriptor)
    os.rmdir(path)
