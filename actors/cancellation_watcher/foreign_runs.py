"""Runs of other workers that are being cancelled: what is certain about them is reported."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Final

import structlog

from ..domain.errors import NotFound
from ..domain.ids import FlowRunId, new_transition_id
from ..domain.log_once import LogOnce
from ..domain.model import (
    Deployment,
    FlowRun,
    InfrastructurePid,
    LogLine,
    Proposal,
    State,
    StateType,
    WorkPool,
)
from ..domain.ports import Clock, Orchestrator
from ..messages.heartbeater import CurrentPool
from ..messages.services import Peers

log = structlog.get_logger("actors.cancellation_watcher")

ASK_TIMEOUT_SECONDS: Final = 10.0

PID_PATIENCE_SECONDS: Final = 3.0
"""How long a run without a pid may be in the hands of a worker that is just starting it."""

MAX_REMARKS: Final = 1_000
"""For so many runs it is remembered what was said about them last."""

NO_CONFIGURATION: Final = (
    "This flow run's deployment no longer exists, so what it started cannot be found; whether "
    "anything of it is still running is not known."
)
NO_PID: Final = (
    "It is not recorded where this flow run's process is; whether it is still running is not "
    "known."
)


class ForeignRuns:
    """A part of CancellationWatcher, owns: _remarks (what was said last about a run)."""

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        rng: random.Random,
        hostname: str,
        pid_exists: Callable[[int], bool],
        uses_runner: Callable[[FlowRun, Deployment | None, WorkPool | None], bool],
        peers: Peers,
    ) -> None:
        self._orchestrator = orchestrator
        self._clock = clock
        self._rng = rng
        self._hostname = hostname
        self._pid_exists = pid_exists
        self._uses_runner = uses_runner
        self._peers = peers
        self._remarks: dict[FlowRunId, LogOnce] = {}

    async def cancel(self, run: FlowRun) -> None:
        """Report about runs of other workers only what is certain.

        A pid that came from the server proves nothing, so no signal is ever sent here.
        """
        deployment = None
        if run.deployment_id is not None:
            try:
                deployment = await self._orchestrator.read_deployment(run.deployment_id)
            except NotFound:
                await self._force_cancelled(run, NO_CONFIGURATION)
                return
        known = await self._peers.heartbeater.request(CurrentPool(), timeout=ASK_TIMEOUT_SECONDS)
        if self._uses_runner(run, deployment, None if known is None else known.pool):
            return  # `prefect flow-run execute` hears of it and cancels by itself
        if not run.infrastructure_pid:
            await self._clock.sleep(PID_PATIENCE_SECONDS)
            before, run = run, await self._orchestrator.read_flow_run(run.id)
            if not _same(run.state, before.state):
                return
        await self._cancel_at(run, run.infrastructure_pid)

    async def _cancel_at(self, run: FlowRun, infrastructure_pid: str | None) -> None:
        if not infrastructure_pid:
            await self._force_cancelled(run, NO_PID)
            return
        where = InfrastructurePid.parse(infrastructure_pid)
        if where is None:
            self._remark(
                run,
                "Where this flow run's process is was written by a worker of another kind "
                f"({infrastructure_pid}), so it is left alone.",
            )
        elif where.host not in (None, self._hostname):
            self._remark(
                run,
                f"This flow run's process {where.pid} is on host {where.host!r}; only a worker "
                "there can end it.",
            )
        elif where.host is None or self._pid_exists(where.pid):
            self._remark(
                run,
                f"Process {where.pid} was not started by this worker, so it is left alone.",
            )
        else:
            self._remark(run, f"Process {where.pid} is no longer there.")
            await self._force_cancelled(run, None)

    async def _force_cancelled(self, run: FlowRun, message: str | None) -> None:
        """Unless it is over by now: force knows no rules, and its supervisor may be faster."""
        details = {k: v for k, v in run.state.details.items() if k != "transition_id"}
        proposal = Proposal(
            type=StateType.CANCELLED,
            name="Cancelled",
            transition_id=new_transition_id(self._rng),
            message=message or run.state.message,
            details=details,
            data=run.state.data,
            force=True,
        )
        now = (await self._orchestrator.read_flow_run(run.id)).state
        if not _same(now, run.state):
            return
        await self._orchestrator.propose_state(run.id, proposal)
        log.info("run.cancelled", flow_run_id=run.id, flow_run_name=run.name, ours=False)

    def _remark(self, run: FlowRun, text: str) -> None:
        if not self.remarks_about(run.id).report(text):
            return
        log.warning("cancel.remark", flow_run_id=run.id, flow_run_name=run.name, message=text)
        line = LogLine(
            flow_run_id=run.id, level=logging.WARNING, message=text, timestamp=self._clock.now()
        )
        self._peers.log_shipper.tell(line)

    def remarks_about(self, run_id: FlowRunId) -> LogOnce:
        """What was said last about a run."""
        if run_id not in self._remarks and len(self._remarks) >= MAX_REMARKS:
            del self._remarks[next(iter(self._remarks))]
        return self._remarks.setdefault(run_id, LogOnce())


def _same(now: State, before: State) -> bool:
    """Whether it is still being cancelled, as old servers or new ones name that."""
    return (now.type, now.name) == (before.type, before.name)
