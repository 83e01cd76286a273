"""The composition root: from settings to a living worker, and back to nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs
import psutil

from ..domain.errors import WorkerError
from ..domain.ports import Clock, Journal, Launcher, Orchestrator
from ..messages.health import CurrentHealth, Health
from ..messages.lifetime import Deadline, Drain, FatalError
from ..messages.runs import RunsInHand, Situation
from ..orchestrator.api import PrefectApi
from ..orchestrator.profile import load_profile
from ..orchestrator.session import Session
from ..processes.journal import FolderJournal
from ..processes.launcher import KeeperLauncher, KeeperOptions
from ..processes.state_folder import StateFolder
from ..runtime import LoopClock, Ping, shut_down
from ..web.health import HealthServer
from . import prefect_python
from .naming import Seat, seats, take_seat
from .preparation import Preparer, uses_runner
from .settings import Settings
from .wiring import WorkerPlan, WorkerPorts, Wiring, start_actors

HEALTH_TIMEOUT_SECONDS = 5.0

SHUTDOWN_SECONDS = 30.0
"""How long the actors may take to end once told to, deliveries of remarks and events included."""


class ActorSystem:
    """A worker as a library: ``async with ActorSystem(settings) as system: await system.wait()``.

    Every adapter may be replaced: ``orchestrator`` (default: the Prefect server of the settings),
    ``launcher`` and ``journal`` (default: the keeper and the files in the state folder),
    ``clock``. What is passed in is not closed.

    Entering raises SettingsError (no server address, no Prefect, wrong health address) and
    StateFolderError. Leaving ends the actors; runs that are still there stay with the keeper.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        orchestrator: Orchestrator | None = None,
        launcher: Launcher | None = None,
        journal: Journal | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.name = settings.name or ""
        """The worker's name; the default one is known after entering."""
        self.secrets: frozenset[str] = frozenset()
        """What must be masked in logs; known after entering."""
        self._orchestrator = orchestrator
        self._launcher = launcher
        self._journal = journal
        self._clock = clock or LoopClock()
        self._wiring: Wiring | None = None
        self._resources = AsyncExitStack()

    # -- life --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start everything; the actors are up afterwards, whether the server answers or not."""
        async with AsyncExitStack() as opened:
            await self._start(opened)
            self._resources = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the actors and give everything back."""
        await self._resources.aclose()

    async def wait(self) -> None:
        """Return when the worker has stopped. WorkerError: it had to give up; it says why."""
        guardian = self._running().guardian
        await guardian.joined()
        failure = guardian.failure
        if isinstance(failure, WorkerError):
            raise failure
        if failure is not None:
            cause = f" ({failure.__cause__!r})" if failure.__cause__ else ""
            raise WorkerError(f"The worker gave up: {failure}{cause}.") from failure

    def drain(self) -> None:
        """Take nothing new, wait for the runs (at most ``drain_seconds``), then stop."""
        self._running().guardian.tell_if_alive(Drain())

    def stop_now(self) -> None:
        """Wait no longer: end the runs or leave them, as ``on_deadline`` says, then stop."""
        self._running().guardian.tell_if_alive(Deadline())

    async def health(self) -> Health:
        """The verdict on the worker now."""
        reporter = self._running().directory.address("health_reporter")
        return await reporter.request(CurrentHealth(), timeout=HEALTH_TIMEOUT_SECONDS)

    async def runs(self) -> tuple[Situation, ...]:
        """Every run in hand."""
        dispatcher = self._running().directory.address("dispatcher")
        return await dispatcher.request(RunsInHand(), timeout=HEALTH_TIMEOUT_SECONDS)

    @property
    def wiring(self) -> Wiring:
        """The actors, for dumps and for programs that send messages of their own."""
        return self._running()

    # -- how it starts -------------------------------------------------------------------------

    async def _start(self, opened: AsyncExitStack) -> None:
        settings = self.settings
        hostname = socket.gethostname()
        engine_python = self._look_for_prefect(opened)
        orchestrator = self._orchestrator or self._connect(opened)
        folder = self._take_seat(opened, hostname)
        launcher = self._launcher
        if launcher is None:
            launcher = await opened.enter_async_context(
                KeeperLauncher(folder, KeeperOptions(embedded=settings.embedded))
            )
        journal = self._journal or FolderJournal(folder)
        if settings.with_healthcheck:
            await self._serve_health(opened)
        self._wiring = start_actors(
            self._plan(hostname),
            WorkerPorts(
                orchestrator=orchestrator,
                launcher=launcher,
                journal=journal,
                clock=self._clock,
                prepare=Preparer(
                    orchestrator=orchestrator,
                    folder=journal.folder,
                    worker=self.name,
                    engine_python=engine_python,
                    base_env=dict(os.environ),
                    prefect_env=settings.prefect.environment(),
                    secrets=self.secrets,
                    end_leftovers=settings.end_leftovers,
                ),
                pid_exists=psutil.pid_exists,
                uses_runner=uses_runner,
            ),
        )
        guardian = self._wiring.guardian
        opened.push_async_callback(shut_down, guardian, SHUTDOWN_SECONDS, clock=self._clock)
        await guardian.request(Ping(), timeout=None)

    def _connect(self, opened: AsyncExitStack) -> Orchestrator:
        session = Session(
            self.settings.prefect.session_options(),
            clock=self._clock,
            reread=lambda: load_profile().credentials(),
        )
        opened.push_async_callback(session.aclose)
        self.secrets = session.secrets
        return PrefectApi(session)

    def _take_seat(self, opened: AsyncExitStack, hostname: str) -> StateFolder:
        settings = self.settings
        seat, folder = take_seat(
            seats(
                api_url=settings.prefect.api_url or "",
                pool=settings.pool,
                host=hostname,
                base=platformdirs.user_state_path("actor-worker"),
                name=settings.name,
                state_dir=settings.state_dir,
            ),
            _try_lock,
        )
        opened.callback(folder.release)
        self._sit_down(seat)
        return folder

    def _sit_down(self, seat: Seat) -> None:
        self.name = seat.name

    def _look_for_prefect(self, opened: AsyncExitStack) -> Callable[[], Awaitable[str]]:
        """Find the interpreter now and check it beside the start; runs wait for the answer."""
        python = prefect_python.find(self.settings.python)
        check = asyncio.create_task(prefect_python.check(python), name="check of Prefect's Python")

        async def stop_checking() -> None:
            check.cancel()
            await asyncio.wait([check])

        def give_up(task: asyncio.Task[prefect_python.PrefectPython]) -> None:
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception) and self._wiring is not None:
                self._wiring.guardian.tell_if_alive(FatalError(error=error))

        check.add_done_callback(give_up)
        opened.push_async_callback(stop_checking)

        async def engine_python() -> str:
            return str((await asyncio.shield(check)).executable)

        return engine_python

    async def _serve_health(self, opened: AsyncExitStack) -> None:
        server = HealthServer(
            self.health, host=self.settings.health_host, port=self.settings.health_port
        )
        await server.start()
        opened.push_async_callback(server.stop)

    def _plan(self, hostname: str) -> WorkerPlan:
        settings, prefect = self.settings, self.settings.prefect
        return WorkerPlan(
            name=self.name,
            pool=settings.pool,
            hostname=hostname,
            queues=settings.work_queues,
            limit=settings.limit,
            query_seconds=settings.query_seconds,
            prefetch_seconds=settings.prefetch_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            run_once=settings.run_once,
            create_pool_if_not_found=settings.create_pool_if_not_found,
            base_job_template=settings.base_job_template,
            drain_seconds=settings.drain_seconds,
            on_deadline=settings.on_deadline,
            log_to_api=prefect.logging_to_api_enabled,
            log_pause_seconds=prefect.logging_to_api_batch_interval,
            log_batch_bytes=prefect.logging_to_api_batch_size - prefect.logging_to_api_max_log_size,
            log_line_bytes=prefect.logging_to_api_max_log_size,
        )

    def _running(self) -> Wiring:
        if self._wiring is None:
            raise RuntimeError("The system is not running: use it within `async with`.")
        return self._wiring


def _try_lock(path: Path) -> StateFolder | None:
    folder = StateFolder(path)
    return folder if folder.try_lock() else None
