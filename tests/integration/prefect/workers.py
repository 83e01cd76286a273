"""Workers that run against real Prefect servers: as a library in a thread, or as a program."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import psutil

from actors import ActorSystem, Settings
from actors.domain.ports import Orchestrator
from tests.integration.prefect.waiting import PATIENCE, until

ACTOR_WORKER: Final = (sys.executable, "-m", "actors")
ROOT: Final = Path(__file__).parents[3]

Connect = Callable[[], AbstractAsyncContextManager[Orchestrator]]
"""Gives a worker its orchestrator, on the worker's loop."""


class Worker:
    """A worker in a thread of this process. Whatever ends it early is raised at the end."""

    def __init__(self, settings: Settings, connect: Connect | None = None) -> None:
        self._settings = settings
        self._connect = connect
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._system: ActorSystem | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="worker")

    def __enter__(self) -> Worker:
        self._thread.start()
        assert self._up.wait(PATIENCE)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._leave is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # it closed its loop meanwhile
                self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def finish(self) -> None:
        """Let it see its runs through, take no more, and stop."""
        assert self._loop is not None
        assert self._system is not None
        self._loop.call_soon_threadsafe(self._system.drain)
        self.stopped()

    def stopped(self) -> None:
        """Wait until it has stopped by itself; raises what it gave up with."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            asyncio.run(self._life())
        except Exception as error:
            self._failure = error
        finally:
            self._up.set()

    async def _life(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            other = None
            if self._connect is not None:
                other = await stack.enter_async_context(self._connect())
            self._system = system = ActorSystem(self._settings, orchestrator=other)
            await stack.enter_async_context(system)
            self._up.set()
            over = asyncio.ensure_future(system.wait())
            leave = asyncio.ensure_future(self._leave.wait())
            await asyncio.wait([over, leave], return_when=asyncio.FIRST_COMPLETED)
            leave.cancel()
            if over.done():
                over.result()
            over.cancel()
            await asyncio.wait([over, leave])


class WorkerProgram:
    """``actor-worker start`` as a process of its own; what it prints is in a file."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        environment: dict[str, str],
        cwd: Path,
    ) -> None:
        self.log = folder / f"worker-{uuid.uuid4().hex[:8]}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={"ACTOR_WORKER_EMBEDDED": "true"} | environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def said(self, words: str) -> None:
        """Wait until it has printed these words."""
        until(lambda: self.printed, lambda printed: words in printed)

    def ended(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        return self.process.wait(PATIENCE)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, if it is there, as a machine would: without a chance to say anything."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """The same with everything it started that is still its descendant."""
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
        self.kill()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=10)
