"""From a claimed run to its job."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from ..domain.errors import OrchestratorError
from ..domain.model import WorkPool
from ..domain.record import RunRecord
from ..job.job import PreparedJob
from ..messages.heartbeater import CurrentPool
from ..runtime import ActorDeadError, Timeout
from .ports import SupervisorPorts

POOL_SECONDS = 5.0
"""How long the Heartbeater may take to answer."""

POOL_PAUSE_SECONDS = 1.0
"""Between two questions for a pool that is not known yet."""


class Preparation:
    """A part of ProcessSupervisor, owns: pool, in which the run was found, and says_submitting."""

    def __init__(self, ports: SupervisorPorts, pool: WorkPool | None) -> None:
        self._ports = ports
        self._adopted = pool is None
        self.pool = pool
        self.says_submitting = False
        """Whether the server, and this worker's settings, want the run to be Submitting."""

    async def prepare_job(self, record: RunRecord) -> PreparedJob:
        """Read what the job depends on and put it together.

        Waits until the Heartbeater knows the pool. Errors: see Orchestrator; ``InvalidJob``.
        """
        pool = self.pool = self.pool or await self._known_pool()
        if self._ports.submitting_state:
            with contextlib.suppress(OrchestratorError):
                self.says_submitting = await self._ports.orchestrator.knows_submitting()
        if self._adopted:  # records are kept without what may be secret
            fresh = await self._ports.orchestrator.read_flow_run(record.run.id)
            record = replace(record, run=replace(fresh, due=record.run.due or fresh.due))
        return await self._ports.prepare_job(record, pool)

    async def _known_pool(self) -> WorkPool:
        """The pool, once it was read: the Heartbeater logs why it cannot be."""
        while True:
            with contextlib.suppress(ActorDeadError, Timeout):  # it is being restarted
                heartbeater = self._ports.peers.heartbeater
                known = await heartbeater.request(CurrentPool(), timeout=POOL_SECONDS)
                if known is not None:
                    return known.pool
            await self._ports.clock.sleep(POOL_PAUSE_SECONDS)
