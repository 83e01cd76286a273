"""From an order to a process: fork(2), prepare, execve(2).

The child creates its own ``process.json``, exclusively, just before it becomes the command. So
every command that runs is recorded, and of several attempts for one claim at most one runs,
whichever process is killed in between. (vfork or posix_spawn would save 0.2 ms but leave no time
for this.)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
from collections.abc import Mapping

from . import files, procfs
from .cgroup import Cgroups
from .constants import (
    CONTROL_PORT,
    CONTROL_TOKEN,
    MARKER,
    NOT_FOR_RUNS,
    NOT_FOR_RUNS_PREFIXES,
    PROCESS_FILE,
    RECORD_FORMAT,
)
from .control import ControlChannel
from .protocol import Frame
from .run_resources import RunResources
from .spawn_errors import search_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

CAUGHT = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that the keeper's loop handles."""
NOT_DEFAULT = (*CAUGHT, signal.SIGPIPE, signal.SIGXFSZ)
"""Those, and the ones that Python ignores: runs get the default of all of them."""


class InheritedState:
    """What the keeper inherited and changed for itself; every run gets it back."""

    def __init__(self, umask: int, open_files: tuple[int, int]) -> None:
        self.umask = umask
        self.open_files = open_files


def start(
    order: Frame, inherited: InheritedState, cgroups: Cgroups, control: ControlChannel | None
) -> tuple[Frame, int, int]:
    """Forks the process of ``order``; returns its record and the reading ends of two pipes.

    The first has its output. The second is closed without data once the command runs; else it says
    why it does not. Raises OSError when there is no process or pipe to have.
    """
    env = _environment(order, control)
    resources = RunResources(order["key"], env, cgroups, temp_dir=order["working_dir"] is None)
    descriptors: list[int] = []
    try:
        descriptors += os.pipe()
        descriptors += os.pipe()
        output, output_in, exec_status, exec_status_in = descriptors
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        keeper = os.getpid()
        pid = os.fork()
    except OSError:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for descriptor in descriptors:
            os.close(descriptor)
        resources.undo()
        raise
    if pid == 0:
        _become(order, env, inherited, resources, output_in, exec_status_in, keeper)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.close(output_in)
    os.close(exec_status_in)
    os.set_blocking(output, False)
    os.set_blocking(exec_status, False)
    return _record(order, resources, output, pid), output, exec_status


def _environment(order: Frame, control: ControlChannel | None) -> dict[str, str]:
    """The order's environment without the worker's own variables, and the keeper's."""
    env = {MARKER: order["key"]}
    for name, value in order["env"].items():
        if name not in NOT_FOR_RUNS and not name.startswith(NOT_FOR_RUNS_PREFIXES):
            env[name] = value
    if control is not None:
        env[CONTROL_PORT] = str(control.port)
        env[CONTROL_TOKEN] = control.token
    return env


def _become(
    order: Frame,
    env: dict[str, str],
    inherited: InheritedState,
    resources: RunResources,
    output: int,
    exec_status: int,
    keeper: int,
) -> NoReturn:
    """In the child: becomes the command, or reports the stage that failed.

    It gives up if the keeper has died before the record is written. So a successor that finds no
    record knows that none will come, however long this child waited for its directory.
    """
    stage = "setup"
    recorded = False
    try:
        printing = _both_ways(output)
        os.dup2(printing, 1)
        os.dup2(printing, 2)
        exec_status = _keep_only(exec_status)
        _restore(inherited)
        os.setsid()
        if resources.cgroup is not None:
            resources.cgroup.enter()
        os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
        record = _record(order, resources, 1, os.getpid())
        stage = "directory"
        os.chdir(order["working_dir"] or record["temp_dir"])
        if order.get("on_python_path"):  # orders of older workers do not say
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), env.get("PYTHONPATH")]))
        stage = "nice"
        if order["nice"]:
            os.nice(order["nice"])
        stage = "record"
        files.create(order["folder"], PROCESS_FILE, record)
        recorded = True
        if os.getppid() != keeper:
            raise ProcessLookupError(errno.ESRCH, "the keeper is gone")
        files.sync(order["folder"])  # only this child waits for the disk
        stage = "exec"
        _execute(order["argv"], env)
    except BaseException as error:
        if recorded:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(order["folder"], PROCESS_FILE))
        resources.leave()
        number = error.errno if isinstance(error, OSError) else None
        os.write(exec_status, json.dumps([stage, number or errno.EINVAL]).encode("ascii"))
    finally:
        os._exit(127)


def _both_ways(output: int) -> int:
    """Opens the pipe for reading, too (fifo(7)): a run is a reader of its own output.

    So it gets no broken pipe when keeper and worker are killed: if the pipe is full, it waits
    until the next keeper opens it.
    """
    try:
        return os.open(f"/proc/self/fd/{output}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # no /proc
        return output


def _record(order: Frame, resources: RunResources, output: int, pid: int) -> Frame:
    found = procfs.stat(pid)
    return {
        "format": RECORD_FORMAT,
        "key": order["key"],
        "pid": pid,
        "start_ticks": 0 if found is None else found.start,
        "boot_id": procfs.boot_id(),
        "pid_namespace": procfs.pid_namespace(),
        "pipe": os.fstat(output).st_ino,
        "temp_dir": None if resources.temp_dir is None else resources.temp_dir.path,
        "temp_dir_identity": None if resources.temp_dir is None else resources.temp_dir.identity,
        "cgroup": None if resources.cgroup is None else resources.cgroup.path,
        "max_output_bytes": order["max_output_bytes"],
        "end_leftovers": order["end_leftovers"],
    }


def _keep_only(descriptor: int) -> int:
    """Closes all but stdio and ``descriptor``: a slow child must not hold the keeper's lock."""
    if descriptor != 3:
        os.dup2(descriptor, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return 3


def _restore(inherited: InheritedState) -> None:
    """Restores signals, limits and umask as they were before the keeper changed them.

    Signals were blocked before the fork, so no handler of the keeper swallows one that came since:
    it is delivered here, at the end.
    """
    signal.set_wakeup_fd(-1)
    for number in NOT_DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_NOFILE, inherited.open_files)
    os.umask(inherited.umask)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _execute(argv: list[str], env: Mapping[str, str]) -> None:
    """execve(2) with the search of execvp(3) in the run's own PATH, never through a shell."""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    refused: OSError | None = None
    for folder in search_path(env).split(os.pathsep):
        try:
            os.execve(os.path.join(folder, argv[0]), argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
    raise refused or FileNotFoundError(errno.ENOENT, "not found", argv[0])
