"""Tells the service manager how the worker is: ready, stopping, and that it turns."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from .domain.ports import ServiceManager
from .messages.dispatcher import ListRuns
from .messages.guardian import Drain, Reexec, Stage
from .messages.health_reporter import CurrentHealth, Health
from .messages.services import Peers
from .periodic_actor import PeriodicActor, PeriodicView
from .runtime import ActorDeadError, Address, Ping, Timeout

LOOK_SECONDS = 5.0
"""How often the worker is looked at, and how long an actor may take to answer."""

LOOKS_PER_BEAT = 4
"""Looks within the manager's watchdog time: one that fails need not be the end."""

EXTENSION_SECONDS = 60.0
"""How long a stopping worker may be silent; more than its actors may take to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNotifierView(PeriodicView):
    """What the ServiceNotifier shows of itself. Its trouble: the actors that did not answer."""

    stage: Stage
    status: str
    """What the service manager was told last."""


class _Silent(Exception):
    """Actors that did not answer; its text names them."""


class ServiceNotifier(PeriodicActor[tuple[Stage, str]]):
    """Owns: _status (what was said last), the rhythm of looks.

    A beat proves that the event loop and every service turn, for each of them has answered a
    question just before; whether the server answers has no part in it. A successor finds
    everything out by asking. systemd is told READY after the first look.
    """

    failure_event = "actors.silent"
    recovery_event = "actors.answer_again"

    def __init__(
        self,
        *,
        notifier: ServiceManager,
        services: Collection[Address],
        peers: Peers,
    ) -> None:
        super().__init__(log=structlog.get_logger("actors.service_notifier"))
        self._notifier = notifier
        self._services = tuple(services)
        self._peers = peers
        self._status = ""
        self._stage = Stage.WORKING
        self._replaced = False
        watchdog = notifier.watchdog_seconds
        self._pause = min(LOOK_SECONDS, watchdog / LOOKS_PER_BEAT) if watchdog else LOOK_SECONDS

    def inspect(self) -> ServiceNotifierView:
        return ServiceNotifierView(
            stage=self._stage, status=self._status, trouble=self._trouble.reported
        )

    def on_receive(self, message: object) -> None:
        match message:
            case Drain():
                self._stop_slowly()
            case Reexec():
                self._replaced = True
                self._notifier.reloading()
            case _:
                super().on_receive(message)

    def on_stop(self) -> None:
        """The other services stop after this one."""
        if not self._replaced:
            self._stop_slowly()

    def _stop_slowly(self) -> None:
        self._stage = Stage.DRAINING
        self._notifier.stopping()
        self._notifier.extend(EXTENSION_SECONDS)

    # -- looking -------------------------------------------------------------------------------

    def pause_seconds(self) -> float:
        return self._pause

    async def work(self) -> tuple[Stage, str]:
        """Look at the worker: its stage and its status. _Silent: some actors do not answer."""
        answers = await asyncio.gather(*map(self._answers, self._services))
        silent = [
            service.name
            for service, has_answered in zip(self._services, answers, strict=True)
            if not has_answered
        ]
        try:
            stage = await self._peers.stage(within_seconds=self._pause)
        except Timeout:
            silent.append(self._peers.guardian.name)
        if silent:
            raise _Silent(" ".join(silent))
        try:
            health = await self._peers.health_reporter.request(
                CurrentHealth(), timeout=self._pause
            )
            runs = await self._peers.dispatcher.request(ListRuns(), timeout=self._pause)
        except (ActorDeadError, Timeout):
            return stage, self._status
        return stage, _describe(stage, health, len(runs))

    async def _answers(self, service: Address) -> bool:
        try:
            await service.request(Ping(), timeout=self._pause)
        except (ActorDeadError, Timeout):
            return False
        return True

    def round_ended(self, result: tuple[Stage, str]) -> None:
        super().round_ended(result)
        stage, status = result
        if stage is Stage.DRAINING:
            self._stop_slowly()
        elif self._stage is Stage.WORKING:
            self._notifier.ready()
        self._notifier.beat()
        if status != self._status:
            self._status = status
            self._notifier.status(status)

    def round_failed(self, error: Exception) -> None:
        if not isinstance(error, _Silent):
            super().round_failed(error)
        elif self._trouble.report(str(error)):
            self._log.error("actors.silent", actors=str(error).split(), within_seconds=self._pause)


def _describe(stage: Stage, health: Health, runs: int) -> str:
    in_hand = f"{runs} flow run{'' if runs == 1 else 's'} in hand"
    if stage is Stage.DRAINING:
        return f"Stopping: {in_hand}"
    if health.ready:
        return f"Polling: {in_hand}"
    if health.last_error is None:
        return f"No answer from the server yet, {in_hand}"
    return f"The server cannot be asked for runs, {in_hand}: {health.last_error}"
