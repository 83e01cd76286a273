"""From an order to a process: fork(2), prepare, execve(2).

The process itself creates its ``process.json``, exclusively, as its last deed before it becomes
the command. So no command ever runs that is not recorded, and of several attempts for one claim
one at most gets to run, whoever is killed in between. (vfork or posix_spawn would save 0.2 ms and
offer no moment for this.)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import time

from . import files, procfs
from . import spawn_errors as causes
from .constants import MARKER, NOT_FOR_RUNS, NOT_FOR_RUNS_PREFIXES, PROCESS_FILE, RECORD_FORMAT
from .run_resources import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from .cgroup import Cgroups
    from .protocol import Frame

CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""The signals that the keeper's loop handles."""
NOT_DEFAULT = (*CAUGHT, signal.SIGPIPE, signal.SIGXFSZ)
"""Those, and the ones that a starting Python ignores: all that a run gets back."""


class Host:
    """What every run gets back as it was before the keeper changed it for itself."""

    def __init__(self, umask: int, open_files: tuple[int, int]) -> None:
        self.umask = umask
        self.open_files = open_files
        self.boot_id = procfs.boot_id()
        self.pid_namespace = procfs.pid_namespace()


class Order:
    """A process to start, as the worker's frame tells it. Raises CouldNotStart."""

    def __init__(self, frame: Frame) -> None:
        self.key: str = frame["key"]
        self.folder: str = frame["folder"]
        self.argv: list[str] = frame["argv"]
        self.env: dict[str, str] = frame["env"]
        self.working_dir: str | None = frame["working_dir"]
        self.control_channel: bool = frame["control_channel"]
        self.nice: int = frame["nice"]
        self.max_output_bytes: int = frame["max_output_bytes"]
        self.end_leftovers: bool = frame["end_leftovers"]
        causes.check(self.argv, self.env)


class Started:
    """A forked process: its record, and the reading ends of its output and of its fate."""

    __slots__ = ("fate", "note", "output", "pid")

    def __init__(self, pid: int, note: Frame, output: int, fate: int) -> None:
        self.pid = pid
        self.note = note
        self.output = output
        self.fate = fate
        """At its end without a word: the command runs. Else: why it does not."""


def run_environment(order: Order, extra: Mapping[str, str]) -> dict[str, str]:
    """The run's environment: the order's without what is the worker's own, and the marker."""
    env = {MARKER: order.key}
    for name, value in order.env.items():
        if name not in NOT_FOR_RUNS and not name.startswith(NOT_FOR_RUNS_PREFIXES):
            env[name] = value
    env.update(extra)
    return env


def start(order: Order, env: Mapping[str, str], host: Host, cgroups: Cgroups) -> Started:
    """Fork the process of ``order``. Raises OSError when there is no process or pipe to have."""
    place = Place()
    descriptors: list[int] = []
    try:
        place.prepare(order.key, env, cgroups, temp_dir=order.working_dir is None)
        descriptors += os.pipe()
        descriptors += os.pipe()
        output, output_in, fate, fate_in = descriptors
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        keeper = os.getpid()
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for descriptor in descriptors:
            os.close(descriptor)
        place.undo()
        raise
    if pid == 0:
        _become(order, env, host, place, output_in, fate_in, keeper)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.close(output_in)
    os.close(fate_in)
    os.set_blocking(output, False)
    os.set_blocking(fate, False)
    return Started(pid, _record(order, host, place, output, pid), output, fate)


def failure(said: bytes) -> tuple[str, int] | None:
    """Stage and errno that the fate pipe told; None when the command runs."""
    if not said:
        return None
    stage, number = json.loads(said)
    return stage, number


def cause(failed: tuple[str, int], order: Order, note: Frame) -> causes.CouldNotStart:
    """Why the command of ``order`` does not run, in words."""
    stage, number = failed
    where = order.working_dir or note["temp_dir"] or "/"
    words = causes.explain(stage, number, order.argv, where, _search_path(order.env))
    later = stage == "record" and number in causes.DISK_TROUBLES
    return causes.NotNow(words) if later else causes.CouldNotStart(words)


def _search_path(env: Mapping[str, str]) -> str:
    return env.get("PATH") or os.defpath


def _become(
    order: Order,
    env: Mapping[str, str],
    host: Host,
    place: Place,
    output: int,
    fate: int,
    keeper: int,
) -> NoReturn:
    """In the child: turn into the command, or tell ``fate`` at which stage that failed.

    It gives up if the keeper has died by the time the record is there. So a successor that finds
    no record knows that none will come, however long this child was held up by its directory.
    """
    stage = "setup"
    recorded = False
    try:
        printing = _both_ways(output)
        os.dup2(printing, 1)
        os.dup2(printing, 2)
        fate = _keep_only(fate)
        _restore(host)
        os.setsid()
        place.enter()
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
        stage = "directory"
        os.chdir(order.working_dir or (place.temp_dir.path if place.temp_dir else "/"))
        stage = "nice"
        if order.nice:
            os.nice(order.nice)
        stage = "record"
        files.create(order.folder, PROCESS_FILE, _record(order, host, place, 1, os.getpid()))
        recorded = True
        if os.getppid() != keeper:
            raise ProcessLookupError(errno.ESRCH, "the keeper is gone")
        files.sync(order.folder)  # this child's wait: the keeper sees to others meanwhile
        stage = "exec"
        _execute(order.argv, env)
    except BaseException as error:
        if recorded:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(order.folder, PROCESS_FILE))
        place.leave()
        number = error.errno if isinstance(error, OSError) else None
        os.write(fate, json.dumps([stage, number or errno.EINVAL]).encode("ascii"))
    finally:
        os._exit(127)


def _both_ways(output: int) -> int:
    """The pipe opened for reading too (fifo(7)): a run is a reader of its own output.

    So it meets no broken pipe when keeper and worker are killed, at once or one after the other:
    it waits, if the pipe is full, until the next keeper opens the pipe anew.
    """
    try:
        return os.open(f"/proc/self/fd/{output}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # no /proc
        return output


def _record(order: Order, host: Host, place: Place, output: int, pid: int) -> Frame:
    found = procfs.stat(pid)
    return {
        "format": RECORD_FORMAT,
        "key": order.key,
        "pid": pid,
        "start_ticks": 0 if found is None else found.start,
        "boot_id": host.boot_id,
        "pid_namespace": host.pid_namespace,
        "started_at": time.time(),
        "pipe": os.fstat(output).st_ino,
        "temp_dir": None if place.temp_dir is None else place.temp_dir.path,
        "temp_dir_identity": None if place.temp_dir is None else place.temp_dir.identity,
        "cgroup": None if place.cgroup is None else place.cgroup.path,
        "max_output_bytes": order.max_output_bytes,
        "end_leftovers": order.end_leftovers,
    }


def _keep_only(descriptor: int) -> int:
    """Close all but stdio and ``descriptor``: the keeper's lock must not hang on a slow child."""
    if descriptor != 3:
        os.dup2(descriptor, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return 3


def _restore(host: Host) -> None:
    """Signals, limits and umask as a process expects them that was not started by the keeper.

    Signals were blocked before the fork, so one that came since then is not swallowed by a
    handler of the keeper's: it is delivered here, at the end.
    """
    signal.set_wakeup_fd(-1)
    for number in NOT_DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_NOFILE, host.open_files)
    os.umask(host.umask)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _execute(argv: list[str], env: Mapping[str, str]) -> None:
    """execve(2) with the search of execvp(3) in the run's own PATH, never through a shell."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    refused: OSError | None = None
    for folder in _search_path(env).split(os.pathsep):
        try:
            os.execve(os.path.join(folder, argv[0]), argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
    raise refused or FileNotFoundError(errno.ENOENT, "not found", argv[0])
