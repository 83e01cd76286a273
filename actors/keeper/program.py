"""The keeper as a program: detaches, locks its state folder, says that it is ready, and runs."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import json
import os
import resource
import signal
import sys

from .cgroup import Cgroups, own_group
from .constants import BUSY, LOCK, LOG, READY
from .files import is_own_folder, open_own
from .keeper import Keeper
from .loop import Loop
from .procfs import knows_connections
from .spawn import NOT_DEFAULT, InheritedState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LOG_BYTES = 1024 * 1024
OLD = ".old"
"""A full log is kept under its name with this suffix, until the next one is full."""

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def main(arguments: list[str]) -> int:
    """Runs a keeper as the JSON object in the first argument says; returns the exit code.

    ``state`` is the state folder; for ``linger``, ``embedded`` and ``grace`` see Keeper. stdout
    gets READY or BUSY, and then its end. stderr is the log in the state folder.
    """
    given = json.loads(arguments[0])
    if os.fork() > 0:  # the worker waits for this process, not for the keeper
        os._exit(0)
    os.setsid()
    state = given.pop("state")
    os.chdir(state)
    if not is_own_folder(os.curdir):
        sys.exit(f"{state} is not a folder of this user's")
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    ready = os.dup(1)  # children must not hold it open, and close all but stdio
    os.dup2(0, 1)
    lock = open_own(LOCK, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.write(ready, BUSY)
        return 3
    sys.stderr = io.TextIOWrapper(Log(LOG, 2), "utf-8", "backslashreplace", write_through=True)
    inherited = _prepare()
    cgroups = Cgroups(os.curdir, own_group())
    loop = Loop()
    Keeper(loop, inherited, cgroups, _missing(cgroups), **given).start()
    os.write(ready, READY)
    os.close(ready)
    loop.run()
    return 0


def _prepare() -> InheritedState:
    for number in signal.valid_signals() - set(NOT_DEFAULT):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return InheritedState(os.umask(0o077), (soft, hard))


def _missing(cgroups: Cgroups) -> list[str]:
    """What this platform cannot do for runs, in sentences."""
    is_there = {
        "no subreaper: processes that a run orphans are found by their marker only": (
            _become_subreaper()
        ),
        "no /proc: only a run's own process is found, not what it starts": (
            os.path.exists("/proc/self/stat")
        ),
        "no /proc/net/tcp: any user may connect to a run's control channel": knows_connections(),
        "no control group: a process that sheds its ancestry and environment is not found": (
            cgroups.possible
        ),
    }
    return [sentence for sentence, there in is_there.items() if not there]


def _become_subreaper() -> bool:
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


class Log(io.RawIOBase):
    """Appends to the file ``path``, which is open as ``descriptor``.

    It is bounded, since a keeper lives for weeks. What a full disk does not take is dropped: the
    run that it is about must go on.
    """

    def __init__(self, path: str, descriptor: int, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._path = path
        self._descriptor = descriptor
        self._max_bytes = max_bytes

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        with contextlib.suppress(OSError):
            if os.fstat(self._descriptor).st_size + len(data) > self._max_bytes:
                os.replace(self._path, self._path + OLD)
                anew = open_own(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.dup2(anew, self._descriptor)
                os.close(anew)
            os.write(self._descriptor, data)
        return len(data)
