"""Temporary directories of runs that are over: removed without holding the loop up."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


class TempDirs:
    """Owns: _removals (children that remove a directory, and what to do after each)."""

    def __init__(self) -> None:
        self._removals: dict[int, Callable[[], None]] = {}

    def remove(self, path: str | None, then: Callable[[], None]) -> None:
        """Remove ``path`` with all that is in it, then call ``then``.

        An empty one goes at once. A full one may hold a repository of any size: a child does it.
        """
        if path is None or _removed(path):
            then()
            return
        try:
            child = os.fork()
        except OSError:  # no process to have: the directory stays
            then()
            return
        if child == 0:
            _remove_and_exit(path)
        self._removals[child] = then

    def reaped(self, pid: int) -> bool:
        """A child ended; whether it was one of these."""
        then = self._removals.pop(pid, None)
        if then is None:
            return False
        then()
        return True


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _remove_and_exit(path: str) -> NoReturn:
    try:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        for _, folders, names, descriptor in os.fwalk(path, topdown=False):
            os.fchmod(descriptor, 0o700)
            for name in names:
                _remove_entry(name, descriptor)
            for name in folders:
                _remove_entry(name, descriptor, folder=True)
        os.rmdir(path)
    finally:
        os._exit(0)


def _remove_entry(name: str, descriptor: int, *, folder: bool = False) -> None:
    with contextlib.suppress(OSError):
        if folder:
            try:
                os.rmdir(name, dir_fd=descriptor)
            except NotADirectoryError:  # a link to a folder, which os.fwalk counts as one
                os.unlink(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
