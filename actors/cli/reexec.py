"""Re-exec: SIGHUP executes the installed program anew in this process; an upgrade loses nothing.

execve(2) keeps the pid, and with it what a service manager knows of the worker. The new program
inherits the descriptor of the state folder's lock, so that nobody can take the folder meanwhile.
The keeper holds the runs all the time.

The old program blocks the signals that would end the new one before it has handlers. The mask and
pending signals survive execve(2); :func:`unblock_signals` lets them in.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, MutableMapping
from typing import Final, NoReturn

from ..domain.errors import WorkerError

LOCK_VARIABLE: Final = "ACTOR_WORKER_HANDED_LOCK"
"""The descriptor of the lock, for the new program, which removes the variable when it reads it."""

BLOCKED: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def inherited_lock(environ: MutableMapping[str, str] = os.environ) -> int | None:
    """The lock that the old program handed over; None for a worker that was started anew."""
    try:
        lock = int(environ.pop(LOCK_VARIABLE, ""))
        os.set_inheritable(lock, False)
    except (ValueError, OSError):
        return None
    return lock


def block_signals() -> None:
    """From now on signals wait for the new program."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


def unblock_signals() -> None:
    """Let them in, once handlers are set and before any child is started: it inherits the mask."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)


def reexec(lock: int, missed: Iterable[int] = ()) -> NoReturn:
    """Execute this program anew, with the lock and the signals that the old program ``missed``.

    WorkerError: it cannot be executed, because the upgrade removed its interpreter.
    """
    block_signals()
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
