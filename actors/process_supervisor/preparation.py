"""From a claimed run to its job, and to the secrets that it must not print."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Final

from ..domain.errors import FailureKind, Unavailable, classify_failure
from ..domain.masking import Masker
from ..domain.model import WorkPool
from ..domain.policy import Backoff
from ..domain.record import RunRecord
from ..job.prepared_job import PreparedJob
from ..messages.heartbeater import CurrentPool
from ..runtime import ActorDeadError, Timeout
from .output import RunOutput
from .ports import SupervisorPorts

POOL_TIMEOUT_SECONDS = 5.0

BACKOFF: Final = Backoff(initial=0.1, ceiling=10.0)


class Preparation:
    """A part of ProcessSupervisor, owns: pool, in which the run was found."""

    def __init__(self, ports: SupervisorPorts, pool: WorkPool | None) -> None:
        self._ports = ports
        self._adopted = pool is None
        self.pool = pool

    async def prepare_job(self, record: RunRecord) -> PreparedJob:
        """Read what the job depends on and put it together.

        Errors: see Orchestrator; ``InvalidJob``; ``Unavailable`` while the pool is not known.
        """
        if self.pool is None:
            with contextlib.suppress(ActorDeadError, Timeout):  # it is being restarted
                known = await self._ports.peers.heartbeater.request(
                    CurrentPool(), timeout=POOL_TIMEOUT_SECONDS
                )
                self.pool = None if known is None else known.pool
        if self.pool is None:
            raise Unavailable("the work pool is not known yet")
        if self._adopted:  # records are kept without what may be secret
            fresh = await self._ports.orchestrator.read_flow_run(record.run.id)
            record = replace(record, run=replace(fresh, due=record.run.due or fresh.due))
        return await self._ports.prepare_job(record, self.pool)

    async def learn_secrets(self, record: RunRecord, output: RunOutput) -> Masker | None:
        """Find out what an adopted run must not show: its secrets are in no record.

        The server is asked until it answers, for as long as the run is in hand; only the run's
        output waits for that. Each different failure is logged once, but not the first of all: a
        worker that has just started reads its pool in that moment. None: it cannot be found out.
        """
        clock = self._ports.clock
        since, failures = clock.now(), 0
        logged: set[str] = set()
        while True:
            try:
                job = await self.prepare_job(record)
            except Exception as error:
                kind = classify_failure(error)
                if kind is FailureKind.BUG:
                    output.log_bug("secrets", error)
                if kind is not FailureKind.PASSING:
                    return None
                failures += 1
                if failures > 1 and str(error) not in logged:
                    logged.add(str(error))
                    hint = "Its output is shown once the server has told which secrets are in it."
                    output.log.warning("run.secrets_unknown", error=str(error), hint=hint)
                await clock.sleep(BACKOFF.delay(failures, self._ports.rng))
            else:
                if logged:
                    output.log.info(
                        "run.secrets_known", failures=failures, since=since.isoformat()
                    )
                return job.masker
