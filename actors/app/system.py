"""The composition root: from settings to a living worker, and back to nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from ..domain.errors import WorkerError
from ..domain.masking import secrets_in_environment
from ..domain.ports import Clock, Journal, Launcher, Orchestrator, ServiceManager
from ..messages.dispatcher import ListRuns, RunInfo
from ..messages.guardian import Deadline, Drain, FatalError, Reexec
from ..messages.health_reporter import CurrentHealth, Health
from ..runtime import ActorDeadError, LoopClock, Ping, shut_down
from ..settings.settings import Settings
from ..web.health import health_server
from .adapters import Adapters, open_adapters
from .wiring import Wiring, start_actors

HEALTH_TIMEOUT_SECONDS = 5.0

SHUTDOWN_SECONDS = 30.0
"""How long the actors may take to stop, deliveries of logs and events included."""


class ActorSystem:
    """A worker as a library: ``async with ActorSystem(settings) as system: await system.wait()``.

    Every adapter may be replaced: ``orchestrator`` (default: the Prefect server of the settings),
    ``launcher`` and ``journal`` (default: the keeper and the files in the state folder),
    ``clock``. What is passed in is not closed. ``notifier`` is the service manager to report to,
    if the worker is a service of its own; ``lock`` is what :meth:`hand_over` of the program that
    ran before in this process returned. ``announce`` is told "started" once the work pool is known
    to fit, and then "stopped" at the end, unless the worker was handed over.

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
        notifier: ServiceManager | None = None,
        lock: int | None = None,
        announce: Callable[[str], object] = lambda what: None,
    ) -> None:
        self.settings = settings
        self.name = settings.name or ""
        """The worker's name; the default one is known after entering."""
        self._orchestrator = orchestrator
        self._launcher = launcher
        self._journal = journal
        self._clock = clock or LoopClock()
        self._notifier = notifier
        self._lock = lock
        self._announce = announce
        self._is_announced = False
        self._adapters: Adapters | None = None
        self._wiring: Wiring | None = None
        self._resources = AsyncExitStack()
        self._failure: Exception | None = None
        """Why the worker cannot do its job any more."""

    # -- life --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start everything; afterwards the actors are up, whether or not the server answers."""
        async with AsyncExitStack() as opened:
            await self._start(opened)
            self._resources = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    async def wait(self) -> None:
        """Return when the worker has stopped. WorkerError: it had to give up, and why."""
        guardian = self.wiring.guardian
        await guardian.joined()
        if guardian.failure is not None:
            raise _as_worker_error(guardian.failure)

    def drain(self) -> None:
        """Take nothing new, wait for the runs (at most ``drain_seconds``), then stop."""
        self.wiring.guardian.tell_if_alive(Drain())

    def stop_now(self) -> None:
        """Wait no longer: end the runs or leave them, as ``on_deadline`` says, then stop."""
        self.wiring.guardian.tell_if_alive(Deadline())

    def hand_over(self) -> int:
        """Stop at once and leave every run to the keeper, before a re-exec of this process.

        Returns the descriptor of the state folder's lock. It stays locked and is the caller's.
        """
        lock = self.adapters.folder.hand_over()
        self._is_announced = False
        self.wiring.guardian.tell_if_alive(Reexec())
        return lock

    async def health(self) -> Health:
        """The verdict on the worker now; one that had to give up is neither healthy nor ready."""
        if self._failure is not None:
            error = str(self._failure)
            return Health(healthy=False, ready=False, seconds_since_poll=0.0, last_error=error)
        reporter = self.wiring.directory.address("health_reporter")
        return await reporter.request(CurrentHealth(), timeout=HEALTH_TIMEOUT_SECONDS)

    async def runs(self) -> tuple[RunInfo, ...]:
        dispatcher = self.wiring.directory.address("dispatcher")
        return await dispatcher.request(ListRuns(), timeout=HEALTH_TIMEOUT_SECONDS)

    @property
    def wiring(self) -> Wiring:
        """The actors, for dumps and for programs that send messages of their own."""
        if self._wiring is None:
            raise RuntimeError("The system is not running: use it within `async with`.")
        return self._wiring

    @property
    def secrets(self) -> frozenset[str]:
        """What to mask in logs; a rotated key adds to it."""
        if self._adapters is None:
            return self.settings.prefect.secrets() | secrets_in_environment(os.environ)
        return self._adapters.secrets()

    @property
    def adapters(self) -> Adapters:
        if self._adapters is None:
            raise RuntimeError("The system is not running: use it within `async with`.")
        return self._adapters

    # -- how it starts -------------------------------------------------------------------------

    async def _start(self, opened: AsyncExitStack) -> None:
        settings = self.settings
        opened.callback(self._announce_stop)
        adapters = await open_adapters(
            settings,
            opened,
            clock=self._clock,
            orchestrator=self._orchestrator,
            launcher=self._launcher,
            journal=self._journal,
            notifier=self._notifier,
            lock=self._lock,
        )
        self.name, self._adapters = adapters.plan.name, adapters
        if settings.with_healthcheck:
            server = health_server(
                self.health, host=settings.health_host, port=settings.health_port
            )
            server.start()
            opened.push_async_callback(server.stop)
        self._wiring = start_actors(
            adapters.plan, replace(adapters.ports, on_started=self._announce_start)
        )
        guardian = self._wiring.guardian
        if adapters.keeper is not None:
            adapters.keeper.on_failure(self._give_up)
        opened.push_async_callback(shut_down, guardian, SHUTDOWN_SECONDS)
        try:
            await guardian.request(Ping(), timeout=None)
        except ActorDeadError as error:  # it could not start, or gave up at once: it knows why
            raise _as_worker_error(guardian.failure or error) from error

    def _announce_start(self) -> None:
        self._is_announced = True
        self._announce("started")

    def _announce_stop(self) -> None:
        if self._is_announced:
            self._is_announced = False
            self._announce("stopped")

    def _give_up(self, error: Exception) -> None:
        self._failure = error
        self.wiring.guardian.tell_if_alive(FatalError(error=error))


def _as_worker_error(failure: BaseException) -> WorkerError:
    """The first WorkerError among a failure and its causes, or a new one that names them."""
    reason: BaseException | None = failure
    while reason is not None:
        if isinstance(reason, WorkerError):
            return reason
        reason = reason.__cause__
    cause = f" ({failure.__cause__!r})" if failure.__cause__ else ""
    error = WorkerError(f"The worker gave up: {failure}{cause}.")
    error.__cause__ = failure
    return error
