"""A whole worker with a real keeper and real processes, against a server in memory."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from actors import ActorSystem, Settings
from actors.domain.ids import FlowRunId
from actors.domain.model import LogLine, StateType
from actors.journal.state_folder import StateFolder
from actors.prefect_api.settings.profile import load_profile
from actors.runtime import LoopClock
from actors.testing.orchestrator import InMemoryOrchestrator

POOL: Final = "pool"
PATIENCE: Final = 60.0
"""Seconds until a wait for something that must happen counts as failed."""


class Workshop:
    """Everything around workers that come and go: the server, the folder, the way to look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = StateFolder(folder / "state")
        self.orchestrator = InMemoryOrchestrator(LoopClock())
        self.server = self.orchestrator.world
        self.server.add_pool(POOL)
        self._python = folder / "python"
        self._python.write_text("#!/bin/sh\necho 3.8.8\n")  # all that is asked of it here
        self._python.chmod(0o700)

    @asynccontextmanager
    async def worker(self, **given: Any) -> AsyncIterator[ActorSystem]:
        """A worker; leaving it leaves its runs to the keeper, unless it is ``embedded``."""
        environ = {"PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.1"}
        values: dict[str, Any] = {
            "pool": POOL,
            "name": "w",
            "python": str(self._python),
            "state_dir": self.state.path,
            "query_seconds": 0.2,
            "embedded": True,
            "prefect": load_profile(environ, cwd=self.folder, home=self.folder),
        }
        settings = Settings(**values | given)
        async with ActorSystem(settings, orchestrator=self.orchestrator) as system:
            yield system

    def run(self, script: str, **job: Any) -> FlowRunId:
        """A due run of a shell script, whose ``$1`` is the workshop's folder."""
        command = shlex.join(["sh", "-c", script, "sh", str(self.folder)])
        return self.server.schedule(POOL, job_variables={"command": command, **job})

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until ``condition`` answers something true; its answer."""
        async with asyncio.timeout(PATIENCE):
            while not (answer := condition()):  # noqa: ASYNC110  neither files nor server tell
                await asyncio.sleep(0.02)
        return answer

    async def crashed(self, run: FlowRunId) -> str:
        """Wait until the run is Crashed; the message of that state."""
        await self.until(lambda: self.server.run(run).state.type is StateType.CRASHED)
        return self.server.run(run).state.message or ""

    async def written(self, name: str) -> list[str]:
        """The lines of a file that a script writes, once it has."""
        path = self.folder / name
        await self.until(lambda: path.exists() and path.read_text().endswith("\n"))
        return path.read_text().splitlines()

    def log_of(self, run: FlowRunId) -> list[str]:
        """The run's log in the API."""
        lines: list[LogLine] = self.server.logs
        return [line.message for line in lines if line.flow_run_id == run]

    def files(self) -> dict[Path, str]:
        """Every file in the state folder with what is in it."""
        return {
            path: path.read_text("utf-8", "replace")
            for path in self.state.path.rglob("*")
            if path.is_file()
        }
