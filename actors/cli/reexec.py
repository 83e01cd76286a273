"""A worker that takes this one's place in the same process: how an upgrade loses nothing.

The program is executed anew with the same arguments (execve(2)), so the pid stays, and with it
what a service manager knows of the worker. The state folder's lock is inherited, so nobody can
take the folder in between, and the runs are with the keeper all the time.

Signals that come in between must not kill the newcomer before it can handle them: they are
blocked (the mask and what is pending survive an execve), until it says :func:`ready_for_signals`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, MutableMapping
from typing import Final, NoReturn

from ..domain.errors import WorkerError

LOCK_VARIABLE: Final = "ACTOR_WORKER_HANDED_LOCK"
"""Tells the newcomer the descriptor of the lock; taken out of the environment when read."""

HELD_BACK: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def handed_lock(environ: MutableMapping[str, str] = os.environ) -> int | None:
    """The lock that a predecessor has left to this process, if there was one."""
    try:
        lock = int(environ.pop(LOCK_VARIABLE, ""))
        os.set_inheritable(lock, False)
    except (ValueError, OSError):
        return None
    return lock


def hold_signals_back() -> None:
    """From now on signals wait for the newcomer."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)


def ready_for_signals() -> None:
    """Let those come that have waited. To be called once handlers are there, before any child is
    started: children would inherit the mask.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def succeed(lock: int, missed: Iterable[int] = ()) -> NoReturn:
    """Execute this program anew in this process, with the lock and the signals it ``missed``.

    WorkerError: it cannot be executed any more, because the upgrade removed its interpreter.
    """
    hold_signals_back()
    for number in missed:
        os.kill(os.getpid(), number)
    arguments = [sys.executable, *sys.orig_argv[1:]]
    try:
        os.execve(sys.executable, arguments, {**os.environ, LOCK_VARIABLE: str(lock)})
    except OSError as error:
        raise WorkerError(
            f"The worker cannot be executed anew: {sys.executable}: {error.strerror}. Its runs "
            "are with the keeper; start a worker with the same settings."
        ) from error
