"""The command as a person has it: a process, what it says, and signals."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]

ACTOR_WORKER = (sys.executable, "-m", "actors")

PATIENCE_SECONDS = 300.0
"""Bound of every wait here: more than the slowest machine needs."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment without anybody's settings of Prefect or of workers."""
    ours = ("PREFECT_", "ACTOR_WORKER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | more


def healthy(port: int) -> None:
    """Wait until the worker's health server says that all is well."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            opener.open(f"http://127.0.0.1:{port}/health", timeout=30).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "it never became healthy"
            time.sleep(0.05)


@contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that takes no more, since nobody reads what is in it."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        with suppress(BlockingIOError):
            while True:
                os.write(writing, b"." * 4096)
        os.set_blocking(writing, True)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


class Command:
    """A running command. Inside the context its output can be waited for; after it, it is gone."""

    def __init__(
        self,
        argv: Sequence[str] | str,
        *,
        env: Mapping[str, str],
        cwd: Path = ROOT,
    ) -> None:
        self._process = subprocess.Popen(
            argv,
            shell=isinstance(argv, str),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = ""
        """Everything it has said so far, on either stream."""

    @property
    def pid(self) -> int:
        """Its process id, and that of its session and process group."""
        return self._process.pid

    def until(self, text: str) -> str:
        """Wait until it has said ``text``; all it said so far."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.said:
            if not self._read(deadline):
                raise AssertionError(f"It ended without saying {text!r}:\n{self.said}")
        return self.said

    def stop_reading(self) -> None:
        """Close our end of its output."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT to the whole process group."""
        os.killpg(self._process.pid, signal.SIGINT)

    def terminate(self) -> None:
        """What a service manager does: SIGTERM to the process."""
        self._process.terminate()

    def exit_code(self) -> int:
        """Wait for its end; its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        assert self._process.stdout is not None
        while not self._process.stdout.closed and self._read(deadline):
            pass
        return self._process.wait(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self, deadline: float) -> bool:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"Nothing more within {PATIENCE_SECONDS:g} s:\n{self.said}")
        data = os.read(descriptor, 65536)
        self.said += data.decode(errors="replace")
        return bool(data)
