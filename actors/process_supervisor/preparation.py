"""From a claimed run to its job."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from ..domain.errors import Unavailable
from ..domain.model import WorkPool
from ..domain.record import RunRecord
from ..job.prepared_job import PreparedJob
from ..messages.pool import CurrentPool
from ..runtime import ActorDeadError, Timeout
from .ports import SupervisorPorts

POOL_TIMEOUT_SECONDS = 5.0


class Preparing:
    """A part of ProcessSupervisor, owns: pool, in which the run was found."""

    def __init__(self, ports: SupervisorPorts, pool: WorkPool | None) -> None:
        self._ports = ports
        self._adopted = pool is None
        self.pool = pool

    async def prepare(self, record: RunRecord) -> PreparedJob:
        """Read what the job depends on and put it together.

        Errors: see Orchestrator; ``InvalidJob``; ``Unavailable`` while the pool is not known.
        """
        if self.pool is None:
            with contextlib.suppress(ActorDeadError, Timeout):  # it is being restarted
                self.pool = await self._ports.heartbeater.request(
                    CurrentPool(), timeout=POOL_TIMEOUT_SECONDS
                )
        if self.pool is None:
            raise Unavailable("the work pool is not known yet")
        if self._adopted:
            record = await self._completed(record)
        return await self._ports.prepare_job(record, self.pool)

    async def _completed(self, record: RunRecord) -> RunRecord:
        """With what records are kept without, for it may be secret."""
        fresh = await self._ports.orchestrator.read_flow_run(record.run.id)
        return replace(record, run=replace(fresh, due=record.run.due or fresh.due))
