"""What the worker tells the keeper about processes, and what the keeper answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .ids import ClaimKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process, distinct from every other one across pid reuse and reboots.

    ``boot_id`` is ``/proc/sys/kernel/random/boot_id``, ``pid_namespace`` the inode of
    ``/proc/self/ns/pid``, ``start_ticks`` field 22 of ``/proc/<pid>/stat`` (proc(5)). Without a
    /proc they are empty or zero.
    """

    pid: int
    start_ticks: int
    boot_id: str
    pid_namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """How a process ended. ``code`` follows subprocess: negative for a signal, None when lost."""

    code: int | None
    reported: str | None = None
    """What its engine said came of the flow run: the state's name, or ABORTED by the server."""
    acknowledged: bool = False
    """Whether its engine acknowledged that it was cancelled."""

    @property
    def status_code(self) -> int | None:
        """0 if the engine itself concluded its attempt, which tells more than the code."""
        return 0 if self.reported is not None or self.acknowledged else self.code

    @property
    def lost(self) -> bool:
        """Whether nobody was there to receive the exit code."""
        return self.code is None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnOrder:
    """A process to start. The keeper adds only the marker and the control channel to it.

    ``env`` is the whole environment. ``working_dir`` None means a fresh temporary directory that
    is removed after the run. ``max_output_bytes`` bounds what is kept of the output on disk.
    """

    key: ClaimKey
    folder: Path
    argv: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: Path | None = None
    on_python_path: bool = False
    """Whether the working directory comes first on PYTHONPATH."""
    control_channel: bool = False
    nice: int = 0
    max_output_bytes: int = 16 * 1024 * 1024
    end_leftovers: bool = True
    """Whether processes that outlive the run's own one are ended too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """A row of the keeper's table. ``exit`` is None while the process lives."""

    key: ClaimKey
    identity: ProcessIdentity
    exit: ExitStatus | None = None
    tree_ended: bool = False
    """Whether the whole tree is gone, not only the process itself."""
    output_bytes: int = 0
    control_connected: bool = False
    rebooted: bool = False
    """Whether the machine has rebooted since: nothing of the run is alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessExited:
    """The run's own process ended. Each listener hears it once."""

    key: ClaimKey
    status: ExitStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEnded:
    """No process of the run's tree is left."""

    key: ClaimKey
    leftovers: tuple[tuple[int, str], ...] = ()
    """(pid, command) of processes that outlived their run and were ended with its tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputWritten:
    """The run printed: complete lines, decoded, in order (``dropped`` bytes lost before them)."""

    key: ClaimKey
    lines: tuple[str, ...]
    dropped: int = 0


ProcessFact = ProcessExited | TreeEnded | OutputWritten
"""What the keeper tells the supervisor of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySample:
    """The memory in use at one moment."""

    host_percent: float
    """Of the machine's or of the container's limit, whichever is smaller."""
    runs: Mapping[ClaimKey, int] = field(default_factory=dict)
    """Bytes that the processes of each measured run hold together."""
