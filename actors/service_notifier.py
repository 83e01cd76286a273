"""Tells the service manager how the worker is: ready, stopping, and that it turns."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import assert_never

import structlog

from .domain.log_once import LogOnce
from .domain.ports import Clock, ServiceManager
from .messages.dispatcher import ListRuns
from .messages.guardian import CurrentStage, Drain, Reexec, Stage
from .messages.health_reporter import CurrentHealth, Health
from .runtime import ActorDeadError, Address, AsyncioActor, Ping, Ticker, Timeout

log = structlog.get_logger("actors.service_notifier")

LOOK_SECONDS = 5.0
"""How often the worker is looked at, and how long an actor may take to answer."""

LOOKS_PER_BEAT = 4
"""Looks within the manager's watchdog time: one that fails need not be the end."""

EXTENSION_SECONDS = 60.0
"""How long a stopping worker may be silent; more than its actors may take to end."""


@dataclass(frozen=True, slots=True)
class Look:
    """To itself: it is time for the next look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a look found; ``silent`` are the actors that did not answer."""

    silent: tuple[str, ...]
    stage: Stage
    status: str


Message = Look | Drain | Reexec | _Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNotifierView:
    """What the ServiceNotifier shows of itself."""

    stage: Stage
    status: str
    """What the service manager was told last."""
    silent: str | None
    """The actors that did not answer at the last look; None: all did."""


class ServiceNotifier(AsyncioActor):
    """Owns: _status (what was said last), the rhythm of looks.

    A beat proves that the event loop and every service turn, for each of them has answered a
    question just before; whether the server answers has no part in it. A successor finds
    everything out by asking.
    """

    def __init__(
        self,
        *,
        notifier: ServiceManager,
        clock: Clock,
        services: Collection[Address],
        guardian: Address,
        health: Address,
        dispatcher: Address,
    ) -> None:
        super().__init__(clock=clock)
        self._notifier = notifier
        self._services = tuple(services)
        self._guardian = guardian
        self._health = health
        self._dispatcher = dispatcher
        self._status = ""
        self._stage = Stage.WORKING
        self._replaced = False
        self._ticker: Ticker | None = None
        self._complaint = LogOnce()
        watchdog = notifier.watchdog_seconds
        self._pause = min(LOOK_SECONDS, watchdog / LOOKS_PER_BEAT) if watchdog else LOOK_SECONDS

    def inspect(self) -> ServiceNotifierView:
        return ServiceNotifierView(
            stage=self._stage, status=self._status, silent=self._complaint.reported
        )

    def on_start(self) -> None:
        """Tell systemd READY after the first look: when all actors have answered."""
        self._ticker = self.every(lambda: self._pause, Look())

    def on_receive(self, message: Message) -> None:
        """Looks take their time beside the mailbox."""
        match message:
            case Look():
                assert self._ticker is not None, "it ticks"
                self._ticker.hold()
                self.pipe(self._look(), on_result=lambda seen: seen)
            case _Seen():
                self._report(message)
                assert self._ticker is not None, "it ticked"
                self._ticker.rearm()
            case Drain():
                self._stop_slowly()
            case Reexec():
                self._replaced = True
                self._notifier.reloading()
            case _:
                assert_never(message)

    def on_stop(self) -> None:
        """The other services stop after this one."""
        if not self._replaced:
            self._stop_slowly()

    def _stop_slowly(self) -> None:
        self._stage = Stage.DRAINING
        self._notifier.stopping()
        self._notifier.extend(EXTENSION_SECONDS)

    # -- looking -------------------------------------------------------------------------------

    async def _look(self) -> _Seen:
        answers = await asyncio.gather(*(self._answers(service) for service in self._services))
        silent = [
            service.name
            for service, answered in zip(self._services, answers, strict=True)
            if not answered
        ]
        try:
            stage = await self._guardian.request(CurrentStage(), timeout=self._pause)
        except Timeout:
            silent.append(self._guardian.name)
            stage = self._stage
        except ActorDeadError:
            stage = Stage.DRAINING  # it is stopping the services, and this one next
        status = self._status if silent else await self._describe(stage)
        return _Seen(silent=tuple(silent), stage=stage, status=status)

    async def _answers(self, service: Address) -> bool:
        try:
            await service.request(Ping(), timeout=self._pause)
        except (ActorDeadError, Timeout):
            return False
        return True

    async def _describe(self, stage: Stage) -> str:
        try:
            health = await self._health.request(CurrentHealth(), timeout=self._pause)
            runs = await self._dispatcher.request(ListRuns(), timeout=self._pause)
        except (ActorDeadError, Timeout):
            return self._status
        return _describe(stage, health, len(runs))

    def _report(self, seen: _Seen) -> None:
        if seen.silent:
            if self._complaint.report(" ".join(seen.silent)):
                log.error("actors.silent", actors=seen.silent, within_seconds=self._pause)
            return
        if self._complaint.resolve():
            log.info("actors.answer_again")
        if seen.stage is Stage.DRAINING:
            self._stop_slowly()
        elif self._stage is Stage.WORKING:
            self._notifier.ready()
        self._notifier.beat()
        if seen.status != self._status:
            self._status = seen.status
            self._notifier.status(seen.status)


def _describe(stage: Stage, health: Health, runs: int) -> str:
    in_hand = f"{runs} flow run{'' if runs == 1 else 's'} in hand"
    if stage is Stage.DRAINING:
        return f"Stopping: {in_hand}"
    if health.ready:
        return f"Polling: {in_hand}"
    if health.last_error is None:
        return f"No answer from the server yet, {in_hand}"
    return f"The server cannot be asked for runs, {in_hand}: {health.last_error}"
