"""Finds runs that are being cancelled, and sees to it that they end."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from .domain.errors import NotFound
from .domain.ids import FlowRunId, new_transition_id
from .domain.log_once import LogOnce
from .domain.model import (
    Deployment,
    FlowRun,
    InfrastructurePid,
    LogLine,
    Proposal,
    State,
    StateType,
    WorkPool,
)
from .domain.policy import jittered
from .domain.ports import Clock, Orchestrator
from .messages.dispatcher import CancelIfOurs
from .messages.guardian import FatalError, Round, RoundEnded
from .messages.heartbeater import CurrentPool
from .messages.services import Peers, ServiceSettings
from .periodic_actor import PeriodicActor, PeriodicView
from .runtime import ActorDeadError, Timeout

log = structlog.get_logger("actors.cancellation_watcher")

REMEMBERED_SECONDS: Final = 600.0
"""How long a run is not looked at again."""

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


@dataclass(frozen=True, slots=True)
class _Handled:
    """A run was told to end, or reported; ``error``: neither."""

    run_id: FlowRunId
    ours: bool = False
    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationWatcherView(PeriodicView):
    """What the CancellationWatcher shows of itself."""

    cancelling: frozenset[FlowRunId]
    """The runs that are not looked at again for a while."""


class CancellationWatcher(PeriodicActor[list[FlowRun]]):
    """Owns: _cancelling (flow run id -> when it may be looked at again). Nobody else knows them.

    A restarted one starts empty: the server tells it again, and cancelling twice is harmless.
    """

    failure_event = "cancellations.unknown"
    recovery_event = "cancellations.recovered"

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        rng: random.Random,
        pid_exists: Callable[[int], bool],
        uses_runner: Callable[[FlowRun, Deployment | None, WorkPool | None], bool],
        peers: Peers,
    ) -> None:
        super().__init__(log=log)
        self._clock = clock
        self._settings = settings
        self._orchestrator = orchestrator
        self._rng = rng
        self._pid_exists = pid_exists
        self._uses_runner = uses_runner
        self._peers = peers
        self._being_handled = 0
        self._first_round_over = False
        self._remarks: dict[FlowRunId, LogOnce] = {}
        self._cancelling: dict[FlowRunId, float] = {}

    def inspect(self) -> CancellationWatcherView:
        return CancellationWatcherView(
            cancelling=frozenset(self._cancelling), trouble=self._trouble.reported
        )

    def on_receive(self, message: object) -> None:
        match message:
            case _Handled():
                self._handled(message)
            case _:
                super().on_receive(message)

    def pause_seconds(self) -> float:
        """Twice the pause between polls, as at Prefect."""
        return jittered(2 * self._settings.query_seconds, self._rng)

    async def work(self) -> list[FlowRun]:
        now = self._clock.monotonic()
        self._cancelling = {r: until for r, until in self._cancelling.items() if until > now}
        return await self._orchestrator.read_cancelling_runs(
            self._settings.pool, self._settings.queues, excluding=tuple(self._cancelling)
        )

    def round_ended(self, result: list[FlowRun]) -> None:
        super().round_ended(result)
        for run in result:
            self._handle(run)
        self._first_round_over = True
        self._tell_if_round_ended()

    def round_failed(self, error: Exception) -> None:
        if self._settings.once and not self._first_round_over:
            self.end_rounds()
            self._peers.guardian.tell(FatalError(error=error))
        else:
            super().round_failed(error)

    def _tell_if_round_ended(self) -> None:
        if self._settings.once and self._first_round_over and not self._being_handled:
            self._peers.guardian.tell(RoundEnded(Round.CANCEL_CHECK))

    def _handle(self, run: FlowRun) -> None:
        if run.id in self._cancelling:
            return
        self._cancelling[run.id] = self._clock.monotonic() + REMEMBERED_SECONDS
        self._being_handled += 1
        self.pipe(
            self._cancel(run),
            on_result=lambda ours: _Handled(run.id, ours=ours),
            on_error=lambda error: _Handled(run.id, error=error),
        )

    def _handled(self, handled: _Handled) -> None:
        run_id, error = handled.run_id, handled.error
        self._being_handled -= 1
        self._tell_if_round_ended()
        if error is not None:
            self._remarks_about(run_id).log_failure(
                log,
                "cancel.failed",
                error,
                expected=(ActorDeadError, Timeout),
                flow_run_id=run_id,
            )
        if handled.ours or error is not None:
            # Found and told again next time: its supervisor may be between two lives.
            self._cancelling.pop(run_id, None)

    async def _cancel(self, run: FlowRun) -> bool:
        """Ours is ended by its supervisor, which is told here. Returns whether it is ours."""
        order = CancelIfOurs(run_id=run.id, state=run.state)
        ours = await self._peers.dispatcher.request(order, timeout=ASK_TIMEOUT_SECONDS)
        if not ours:
            await self._cancel_foreign(run)
        return ours

    async def _cancel_foreign(self, run: FlowRun) -> None:
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
        elif where.host not in (None, self._settings.hostname):
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
        if not self._remarks_about(run.id).report(text):
            return
        log.warning("cancel.remark", flow_run_id=run.id, flow_run_name=run.name, message=text)
        line = LogLine(
            flow_run_id=run.id, level=logging.WARNING, message=text, timestamp=self._clock.now()
        )
        self._peers.log_shipper.tell(line)

    def _remarks_about(self, run_id: FlowRunId) -> LogOnce:
        if run_id not in self._remarks and len(self._remarks) >= MAX_REMARKS:
            del self._remarks[next(iter(self._remarks))]
        return self._remarks.setdefault(run_id, LogOnce())


def _same(now: State, before: State) -> bool:
    """Whether it is still being cancelled, as old servers or new ones name that."""
    return (now.type, now.name) == (before.type, before.name)
