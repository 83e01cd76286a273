"""Children that do what may block: the keeper has one thread, and all runs wait for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable

from . import files
from .loop import Loop

GATHER_SECONDS = 0.5
"""Pause before files are synchronized, so that runs that end together share one child."""


class Helpers:
    """Owns: _then (pid of each child -> what to call after its end)."""

    def __init__(self) -> None:
        self._then: dict[int, Callable[[], None]] = {}

    def start(self, work: Callable[[], object], then: Callable[[], None]) -> bool:
        """Calls ``work`` in a child, and ``then`` after its end. False: no process can be had."""
        try:
            child = os.fork()
        except OSError:
            return False
        if child == 0:
            try:
                os.closerange(3, os.sysconf("SC_OPEN_MAX"))
                work()
            finally:
                os._exit(0)
        self._then[child] = then
        return True

    def reaped(self, pid: int) -> bool:
        """The child ``pid`` was waited for; False when it is no helper."""
        then = self._then.pop(pid, None)
        if then is not None:
            then()
        return then is not None


class Flusher:
    """Synchronizes what the keeper has written, so that a power cut does not undo it.

    fsync(2) may take seconds on a busy disk and for ever on a stuck one, so one child at a time
    does it for all that was written within a while. Until then a power cut may cost an exit
    status, which the worker has learned at once in any case.

    Owns: _due (files and folders, in order), _is_busy (a child is at work, or will be soon).
    """

    def __init__(self, loop: Loop, helpers: Helpers) -> None:
        self._loop = loop
        self._helpers = helpers
        self._due: dict[str, None] = {}
        self._is_busy = False

    def later(self, *paths: str) -> None:
        """Synchronizes ``paths`` soon."""
        self._due.update(dict.fromkeys(paths))
        if self._due and not self._is_busy:
            self._is_busy = True
            self._loop.call_later(GATHER_SECONDS, self._flush)

    def finish(self) -> None:
        """Synchronizes what is due now, since nobody waits for an ending keeper."""
        _sync(self._due)
        self._due.clear()

    def _flush(self) -> None:
        self._is_busy = False
        if self._due and self._helpers.start(lambda: _sync(self._due), self._flushed):
            self._is_busy = True
            self._due.clear()

    def _flushed(self) -> None:
        self._is_busy = False
        self.later()


def _sync(paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # removed meanwhile, or a disk that fails anyway
            files.sync(path)
