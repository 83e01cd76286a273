"""The server and the worker as programs, from their start to the end of their last process.

Each has a session of its own, so that Ctrl-C reaches quickstart alone, which ends them in order.
They and their children have the folder's TMPDIR in their environment. By it they are found, even
after an earlier quickstart was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from ...domain.errors import WorkerError
from .folder import QuickstartFolder

MARK: Final = "TMPDIR"
"""The variable by which a process of a quickstart is known: it names a place in its folder."""

SWEEP_SECONDS: Final = 5.0
"""How long :func:`sweep` waits after SIGTERM before SIGKILL."""

_OURS: Final = ("PREFECT_", "ACTOR_WORKER_")


def environment(folder: QuickstartFolder, **more: str) -> dict[str, str]:
    """The environment of a program in ``folder``: ours without settings of Prefect or workers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return (
        kept
        | {
            MARK: str(folder.temporary),
            "PREFECT_HOME": str(folder.prefect_home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        | more
    )


class Program:
    """A running program that writes to a log file."""

    def __init__(
        self,
        title: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.title = title
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    def must_live(self) -> None:
        """WorkerError: the program has ended by itself; with the end of its log."""
        if (code := self._process.poll()) is not None:
            raise WorkerError(
                f"{self.title} ended by itself with exit code {code}. Its last words"
                f" (all of them in {self._log}):\n{self.last_words()}"
            )

    def last_words(self, lines: int = 15) -> str:
        """The end of its log, indented."""
        text = self._log.read_bytes()[-16_384:].decode(errors="replace")
        kept = [line for line in text.splitlines() if line.strip()][-lines:]
        return "\n".join(f"  {line}" for line in kept)

    def end(self, seconds: float) -> None:
        """Send SIGTERM, and after ``seconds`` SIGKILL."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def sweep(folder: QuickstartFolder, *, seconds: float = SWEEP_SECONDS) -> int:
    """End the processes that a quickstart in ``folder`` left; their number.

    A process counts by the mark in its environment, never by its pid.
    """
    found = [process for process in psutil.process_iter() if _is_marked(process, folder)]
    for process in found:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=seconds)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=SWEEP_SECONDS)
    return len(found)


def _is_marked(process: psutil.Process, folder: QuickstartFolder) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        return process.environ().get(MARK) == str(folder.temporary)
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
