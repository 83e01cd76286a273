"""Keeps the work pool in view and tells it that this worker is alive."""

from __future__ import annotations

import random
from dataclasses import dataclass

import structlog

from .domain.errors import Conflict, Forbidden, NotFound, Refused, SettingsError
from .domain.log_once import LogOnce
from .domain.model import WorkPool
from .domain.policy import jittered
from .domain.ports import Orchestrator
from .messages.guardian import FatalError
from .messages.health_reporter import Beaten
from .messages.heartbeater import CurrentPool, PoolSnapshot, PoolSynced
from .messages.poller import PollNow
from .messages.services import Peers, ServiceSettings
from .periodic_actor import PeriodicActor, PeriodicView

RESERVED = "prefect"
"""How names of pools begin that servers keep for themselves."""

SERVED_ELSEWHERE = (":push", ":managed")
"""How types of pools end that no worker serves."""

POOL_TYPE = "process"


@dataclass(frozen=True, slots=True)
class _PoolRead:
    """The pool was read. Runs that wait for it need no heartbeat."""

    pool: WorkPool


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeaterView(PeriodicView):
    """What the Heartbeater shows of itself."""

    pool: str | None
    """The name of the pool that was read last; None: none was."""
    queues: tuple[str, ...]
    """The names of its queues that are served."""
    is_synced: bool
    """Whether a heartbeat was ever answered."""


class Heartbeater(PeriodicActor[PoolSnapshot]):
    """Owns: _snapshot (the work pool), _synced (whether a heartbeat was answered) and the rhythm.

    Rebuilt by the first round after a restart.
    """

    failure_event = "pool.sync_failed"
    recovery_event = "pool.recovered"

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        orchestrator: Orchestrator,
        rng: random.Random,
        peers: Peers,
    ) -> None:
        log = structlog.get_logger("actors.heartbeater").bind(pool=settings.pool)
        super().__init__(log=log)
        self._settings = settings
        self._orchestrator = orchestrator
        self._rng = rng
        self._peers = peers
        self._snapshot: PoolSnapshot | None = None
        self._synced = False
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

    def on_receive(self, message: object) -> PoolSnapshot | None:
        match message:
            case CurrentPool():
                return self._snapshot
            case _PoolRead(pool=pool):
                queues = () if self._snapshot is None else self._snapshot.queues
                self._snapshot = PoolSnapshot(pool=pool, queues=queues)
            case _:
                super().on_receive(message)
        return None

    def pause_seconds(self) -> float:
        """Before the first success the worker does nothing at all: try again sooner."""
        usual = self._settings.heartbeat_seconds
        return jittered(usual if self._synced else min(5.0, usual), self._rng)

    async def work(self) -> PoolSnapshot:
        """Read the pool, create or fill it if need be, and send a heartbeat."""
        settings = self._settings
        pool = await self._read_or_create()
        if pool.type.endswith(SERVED_ELSEWHERE):
            raise SettingsError(
                f"Work pool {pool.name!r} is of type {pool.type!r}: its runs are started by "
                "Prefect Cloud, so it needs no worker. Choose a pool of type process with --pool."
            )
        if not pool.base_job_template:
            await self._orchestrator.update_base_job_template(pool.name, settings.template)
            pool = await self._orchestrator.read_work_pool(pool.name)
        self.actor_ref.tell_if_alive(_PoolRead(pool))
        await self._orchestrator.send_heartbeat(
            pool.name, settings.worker, max(1, round(settings.heartbeat_seconds))
        )
        try:
            queues = await self._orchestrator.read_work_queues(pool.name, settings.queues)
        except Refused:  # not worth a failed round
            queues = []
        else:
            self._check_queues({queue.name for queue in queues})
        return PoolSnapshot(pool=pool, queues=tuple(queues))

    def _check_queues(self, names: set[str]) -> None:
        """A worker that polls once does not wait for queues that are not there yet."""
        missing = sorted(set(self._settings.queues) - names)
        if missing and self._settings.once:
            raise NotFound(
                f"Work pool {self._settings.pool!r} has no queue {', '.join(map(repr, missing))}. "
                "Create it, or choose others with --work-queue."
            )

    def round_ended(self, result: PoolSnapshot) -> None:
        super().round_ended(result)
        is_first, self._synced, self._snapshot = not self._synced, True, result
        self._log_mismatch(result.pool)
        self._log_pauses(result)
        self._peers.guardian.tell(PoolSynced(pool=result.pool))
        self._peers.event_subscriber.tell(PoolSynced(pool=result.pool))
        self._peers.health_reporter.tell(Beaten())
        if is_first:
            self._peers.poller.tell(PollNow())

    def round_failed(self, error: Exception) -> None:
        is_fatal = self._settings.once or isinstance(error, SettingsError)
        if is_fatal and not self._synced:
            self.end_rounds()
            self._peers.guardian.tell(FatalError(error=error))
        else:
            super().round_failed(error)

    async def _read_or_create(self) -> WorkPool:
        settings = self._settings
        try:
            return await self._orchestrator.read_work_pool(settings.pool)
        except NotFound:
            if not settings.create_if_missing:
                raise NotFound(
                    f"Work pool {settings.pool!r} does not exist and may not be created. Create "
                    f"it with `prefect work-pool create --type process {settings.pool}`, or "
                    "start the worker with --create-pool-if-not-found."
                ) from None
        try:
            pool = await self._orchestrator.create_work_pool(
                settings.pool, POOL_TYPE, settings.template
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
        self._log.info("pool.created", type=pool.type)
        return pool

    def _log_mismatch(self, pool: WorkPool) -> None:
        if pool.type == POOL_TYPE:
            self._mismatch.resolve()
        elif self._mismatch.report(pool.type):
            self._log.warning(
                "pool.type_mismatch",
                expected=POOL_TYPE,
                actual=pool.type,
                hint="This worker runs processes; the pool's jobs may need another worker.",
            )

    def _log_pauses(self, snapshot: PoolSnapshot) -> None:
        pool = snapshot.pool
        paused = [queue.name for queue in snapshot.queues if queue.is_paused]
        if not pool.is_paused and not paused:
            if self._paused.resolve():
                self._log.info("pool.unpaused")
        elif self._paused.report("pool" if pool.is_paused else f"queues: {', '.join(paused)}"):
            self._log.warning(
                "pool.paused",
                queues=[] if pool.is_paused else paused,
                hint="No flow runs come from there until it is resumed.",
            )
