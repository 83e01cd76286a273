"""Keeps the work pool in view and tells it that this worker is alive."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import structlog

from .domain.errors import Conflict, Forbidden, NotFound, Refused, SettingsError
from .domain.log_once import LogOnce
from .domain.model import Json, WorkPool
from .domain.policy import jittered
from .domain.ports import Clock, Orchestrator
from .messages.guardian import FatalError
from .messages.health_reporter import Beaten
from .messages.heartbeater import CurrentPool, PoolSnapshot, PoolSynced
from .messages.poller import PollNow
from .runtime import Address, AsyncioActor, Ticker

RESERVED = "prefect"
"""How names of pools begin that servers keep for themselves."""

SERVED_ELSEWHERE = (":push", ":managed")
"""How types of pools end that no worker serves."""

log = structlog.get_logger("actors.heartbeater")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """Which pool, and what to do when it is not there.

    ``template`` is what a pool created by us gets; ``default_template`` fills a pool that has
    none. ``heartbeat_seconds`` is the mean pause between heartbeats.
    """

    pool: str
    worker: str
    default_template: Mapping[str, Json]
    template: Mapping[str, Json] | None = None
    type: str = "process"
    queues: tuple[str, ...] = ()
    heartbeat_seconds: float = 30.0
    create_if_missing: bool = True
    once: bool = False


class NoSuchPool(NotFound):
    """It may come: a pool is created beside the worker as often as before it."""


@dataclass(frozen=True, slots=True)
class Sync:
    """To itself: it is time for the next heartbeat."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The pool was read. Runs that wait for it need no heartbeat."""

    pool: WorkPool


@dataclass(frozen=True, slots=True)
class _Synced:
    snapshot: PoolSnapshot


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


Message = Sync | CurrentPool | _Known | _Synced | _Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeaterView:
    """What the Heartbeater shows of itself."""

    pool: str | None
    """The name of the pool that was read last; None: none was."""
    queues: tuple[str, ...]
    """The names of its queues that are served."""
    is_synced: bool
    """Whether a heartbeat was ever answered."""
    trouble: str | None
    """Why the last heartbeat failed; None: it did not."""


class Heartbeater(AsyncioActor):
    """Owns: _snapshot (the work pool), _synced (whether a heartbeat was answered) and the rhythm.

    Rebuilt by the first sync after a restart.
    """

    def __init__(
        self,
        settings: PoolSettings,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        rng: random.Random,
        poller: Address,
        guardian: Address,
        health: Address,
    ) -> None:
        super().__init__(clock=clock)
        self._settings = settings
        self._orchestrator = orchestrator
        self._rng = rng
        self._poller = poller
        self._guardian = guardian
        self._health = health
        self._snapshot: PoolSnapshot | None = None
        self._synced = False
        self._ticker: Ticker | None = None
        self._trouble = LogOnce()
        self._paused = LogOnce()
        self._mismatch = LogOnce()

    def inspect(self) -> HeartbeaterView:
        known = self._snapshot
        return HeartbeaterView(
            pool=None if known is None else known.pool.name,
            queues=() if known is None else tuple(queue.name for queue in known.queues),
            is_synced=self._synced,
            trouble=self._trouble.reported,
        )

    def on_start(self) -> None:
        """Sync at once."""
        self._ticker = self.every(self._pause, Sync())

    def on_receive(self, message: Message) -> PoolSnapshot | None:
        """One message at a time; waits come back as messages."""
        match message:
            case Sync():
                self._sync()
            case CurrentPool():
                return self._snapshot
            case _Known(pool=pool):
                queues = () if self._snapshot is None else self._snapshot.queues
                self._snapshot = PoolSnapshot(pool=pool, queues=queues)
            case _Synced(snapshot=snapshot):
                self._synchronized(snapshot)
            case _Failed(error=error):
                self._complain(error)
            case _:
                assert_never(message)
        return None

    def _synchronized(self, snapshot: PoolSnapshot) -> None:
        is_first, self._synced, self._snapshot = not self._synced, True, snapshot
        pool = snapshot.pool
        if self._trouble.resolve():
            log.info("pool.recovered", pool=pool.name)
        self._log_mismatch(pool)
        self._log_pauses(snapshot)
        self._guardian.tell(PoolSynced(pool=pool))
        self._health.tell(Beaten())
        if is_first:
            self._poller.tell(PollNow())
        self._rearm()

    def _pause(self) -> float:
        return jittered(self._settings.heartbeat_seconds, self._rng)

    def _sync(self) -> None:
        if self._ticker is not None:
            self._ticker.hold()
        self.pipe(self._read_and_beat(), on_result=lambda synced: synced, on_error=_Failed)

    def _rearm(self, delay: float | None = None) -> None:
        if self._ticker is not None:
            self._ticker.rearm(delay)

    async def _read_and_beat(self) -> _Synced:
        settings = self._settings
        pool = await self._read_or_create()
        if pool.type.endswith(SERVED_ELSEWHERE):
            raise SettingsError(
                f"Work pool {pool.name!r} is of type {pool.type!r}: its runs are started by "
                "Prefect Cloud, so it needs no worker. Choose a pool of type process with --pool."
            )
        if not pool.base_job_template:
            template = settings.template or settings.default_template
            await self._orchestrator.update_base_job_template(pool.name, template)
            pool = await self._orchestrator.read_work_pool(pool.name)
        self.actor_ref.tell_if_alive(_Known(pool))
        await self._orchestrator.send_heartbeat(
            pool.name, settings.worker, max(1, round(settings.heartbeat_seconds))
        )
        try:
            queues = await self._orchestrator.read_work_queues(pool.name, settings.queues)
        except Refused:  # not worth a failed sync
            queues = []
        return _Synced(PoolSnapshot(pool=pool, queues=tuple(queues)))

    async def _read_or_create(self) -> WorkPool:
        settings = self._settings
        try:
            return await self._orchestrator.read_work_pool(settings.pool)
        except NotFound:
            if not settings.create_if_missing:
                raise NoSuchPool(
                    f"Work pool {settings.pool!r} does not exist and may not be created. Create "
                    f"it with `prefect work-pool create --type process {settings.pool}`, or "
                    "start the worker with --create-pool-if-not-found."
                ) from None
        try:
            pool = await self._orchestrator.create_work_pool(
                settings.pool, settings.type, settings.template or settings.default_template
            )
        except Conflict:  # another worker was faster
            return await self._orchestrator.read_work_pool(settings.pool)
        except Forbidden as error:
            if not settings.pool.lower().startswith(RESERVED):
                raise
            raise SettingsError(
                f"The server does not allow a work pool called {settings.pool!r}: {error} "
                "Choose another name with --pool."
            ) from None
        log.info("pool.created", pool=pool.name, type=pool.type)
        return pool

    def _complain(self, error: Exception) -> None:
        never_worked = not self._synced
        if never_worked and (self._settings.once or isinstance(error, SettingsError)):
            self._guardian.tell(FatalError(error=error))
            return
        self._trouble.log_failure(log, "pool.sync_failed", error, pool=self._settings.pool)
        # Before the first success the worker does nothing at all: try again sooner.
        pause = min(5.0, self._settings.heartbeat_seconds) if never_worked else None
        self._rearm(None if pause is None else jittered(pause, self._rng))

    def _log_mismatch(self, pool: WorkPool) -> None:
        if pool.type == self._settings.type:
            self._mismatch.resolve()
        elif self._mismatch.report(pool.type):
            log.warning(
                "pool.type_mismatch",
                pool=pool.name,
                expected=self._settings.type,
                actual=pool.type,
                hint="This worker runs processes; the pool's jobs may need another worker.",
            )

    def _log_pauses(self, snapshot: PoolSnapshot) -> None:
        pool = snapshot.pool
        paused = [queue.name for queue in snapshot.queues if queue.is_paused]
        if not pool.is_paused and not paused:
            if self._paused.resolve():
                log.info("pool.unpaused", pool=pool.name)
        elif self._paused.report("pool" if pool.is_paused else f"queues: {', '.join(paused)}"):
            log.warning(
                "pool.paused",
                pool=pool.name,
                queues=[] if pool.is_paused else paused,
                hint="No flow runs come from there until it is resumed.",
            )
