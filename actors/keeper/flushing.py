"""What the keeper has written and a power cut shall not undo: synchronized by a child.

The keeper has one thread, and fsync(2) may take seconds on a busy disk and for ever on a stuck
one. So one child at a time does it for all that ended within a while (a fork takes 1 ms). Until
then a power cut may cost an exit status, of which the worker has heard at once in any case.
"""

from __future__ import annotations

import contextlib
import os

from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from .loop import Loop, Timer

GATHER_SECONDS = 0.5
"""Between what was written and the child, so that runs that end together share one."""


class Flusher:
    """Owns: _due (files and folders, in order), _child (the pid of who is at it), _timer."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._due: dict[str, None] = {}
        self._child: int | None = None
        self._timer: Timer | None = None

    def later(self, *paths: str) -> None:
        """Synchronize ``paths`` soon."""
        self._due.update(dict.fromkeys(paths))
        self._schedule()

    def reaped(self, pid: int) -> bool:
        """A child ended; whether it was this one's."""
        if pid != self._child:
            return False
        self._child = None
        self._schedule()
        return True

    def finish(self) -> None:
        """The keeper ends, and nobody waits for it any more: synchronize what is due now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _sync(self._due)
        self._due.clear()

    def _schedule(self) -> None:
        if self._due and self._child is None and self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        try:
            child = os.fork()
        except OSError:  # no process to have: it goes with what comes next
            return
        if child == 0:
            _sync_and_exit(self._due)
        self._child = child
        self._due.clear()


def _sync_and_exit(paths: Iterable[str]) -> NoReturn:
    try:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        _sync(paths)
    finally:
        os._exit(0)


def _sync(paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # removed meanwhile, or a disk that fails anyway
            files.sync(path)
