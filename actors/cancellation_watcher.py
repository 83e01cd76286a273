"""Finds runs that are being cancelled, and sees to it that they end."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, assert_never

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
from .messages.deliveries import ShipLog
from .messages.dispatcher import CancelIfOurs
from .messages.guardian import FatalError, Round, RoundEnded
from .messages.heartbeater import CurrentPool
from .runtime import ActorDeadError, Address, AsyncioActor, Ticker, Timeout

T = TypeVar("T")

log = structlog.get_logger("actors.cancellation_watcher")

REMEMBERED_SECONDS = 600.0
"""How long a run is not looked at again."""

ASK_TIMEOUT_SECONDS = 10.0

PID_PATIENCE_SECONDS = 3.0
"""How long a run without a pid may be in the hands of a worker that is just starting it."""

MAX_REMARKS = 1_000
"""So many runs are remembered, so that each remark about them is made once."""

NO_CONFIGURATION = (
    "This flow run's deployment no longer exists, so what it started cannot be found; whether "
    "anything of it is still running is not known."
)
NO_PID = (
    "It is not recorded where this flow run's process is; whether it is still running is not "
    "known."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """``watch_seconds`` is the mean pause between looks: twice the polling interval at Prefect."""

    pool: str
    hostname: str
    queues: tuple[str, ...] = ()
    watch_seconds: float = 20.0
    once: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """To itself: it is time for the next look."""


@dataclass(frozen=True, slots=True)
class _Found:
    runs: list[FlowRun]


@dataclass(frozen=True, slots=True)
class _LookFailed:
    error: Exception


@dataclass(frozen=True, slots=True)
class _Dealt:
    run_id: FlowRunId
    ours: bool = False
    error: Exception | None = None


UNPARSABLE = (
    "Where this flow run's process is was written by a worker of another kind ({where}), so it is "
    "left alone."
)

Message = Look | _Found | _LookFailed | _Dealt


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationWatcherView:
    """What the CancellationWatcher shows of itself."""

    cancelling: frozenset[FlowRunId]
    """The runs that are not looked at again for a while."""
    trouble: str | None
    """Why the last look failed; None: it did not."""


class CancellationWatcher(AsyncioActor):
    """Owns: _cancelling (flow run id -> when it may be looked at again). Nobody else knows them.

    A restarted one starts empty: the server tells it again, and cancelling twice is harmless.
    """

    def __init__(
        self,
        settings: WatchSettings,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        rng: random.Random,
        pid_exists: Callable[[int], bool],
        uses_runner: Callable[[FlowRun, Deployment | None, WorkPool | None], bool],
        heartbeater: Address,
        dispatcher: Address,
        log_shipper: Address,
        guardian: Address,
    ) -> None:
        super().__init__(clock=clock)
        self._settings = settings
        self._orchestrator = orchestrator
        self._clock = clock
        self._rng = rng
        self._pid_exists = pid_exists
        self._uses_runner = uses_runner
        self._heartbeater = heartbeater
        self._dispatcher = dispatcher
        self._log_shipper = log_shipper
        self._guardian = guardian
        self._ticker: Ticker | None = None
        self._being_dealt_with = 0
        self._first_look_over = False
        self._remarks: dict[FlowRunId, str] = {}
        self._failed: dict[FlowRunId, LogOnce] = {}
        self._cancelling: dict[FlowRunId, float] = {}
        self._complaint = LogOnce()

    def inspect(self) -> CancellationWatcherView:
        return CancellationWatcherView(
            cancelling=frozenset(self._cancelling), trouble=self._complaint.reported
        )

    def on_start(self) -> None:
        """Look at once."""
        self._ticker = self.every(self._pause, Look())

    def on_receive(self, message: Message) -> None:
        """One message at a time; waits come back as messages."""
        match message:
            case Look():
                self._look()
            case _Found(runs=runs):
                if self._complaint.resolve():
                    log.info("cancellations.recovered")
                for run in runs:
                    self._deal_with(run)
                self._first_look_over = True
                self._say_if_round_ended()
                self._rearm()
            case _LookFailed(error=error) if self._settings.once and not self._first_look_over:
                self._guardian.tell(FatalError(error=error))
            case _LookFailed(error=error):
                self._complaint.log_failure(
                    log, "cancellations.unknown", error, expected=(ActorDeadError, Timeout)
                )
                self._rearm()
            case _Dealt(run_id=run_id, ours=ours, error=error):
                self._being_dealt_with -= 1
                self._say_if_round_ended()
                complaint = self._failed.pop(run_id, None) or LogOnce()
                if error is not None:
                    complaint.log_failure(
                        log,
                        "cancel.failed",
                        error,
                        expected=(ActorDeadError, Timeout),
                        flow_run_id=run_id,
                    )
                    _put(self._failed, run_id, complaint)
                if ours or error is not None:
                    # Found and told again next time: its supervisor may be between two lives.
                    self._cancelling.pop(run_id, None)
            case _:
                assert_never(message)

    def _pause(self) -> float:
        return jittered(self._settings.watch_seconds, self._rng)

    def _look(self) -> None:
        if self._ticker is not None:
            self._ticker.hold()
        now = self._clock.monotonic()
        self._cancelling = {r: until for r, until in self._cancelling.items() if until > now}
        self.pipe(
            self._orchestrator.read_cancelling_runs(
                self._settings.pool, self._settings.queues, excluding=tuple(self._cancelling)
            ),
            on_result=_Found,
            on_error=_LookFailed,
        )

    def _rearm(self) -> None:
        if self._ticker is not None:
            self._ticker.rearm()

    def _say_if_round_ended(self) -> None:
        if self._settings.once and self._first_look_over and not self._being_dealt_with:
            self._guardian.tell(RoundEnded(Round.CANCEL_CHECK))

    def _deal_with(self, run: FlowRun) -> None:
        if run.id in self._cancelling:
            return
        self._cancelling[run.id] = self._clock.monotonic() + REMEMBERED_SECONDS
        self._being_dealt_with += 1
        self.pipe(
            self._cancel(run),
            on_result=lambda ours: _Dealt(run.id, ours=ours),
            on_error=lambda error: _Dealt(run.id, error=error),
        )

    async def _cancel(self, run: FlowRun) -> bool:
        """Ours is ended by its supervisor, which is told here. Returns whether it is ours."""
        order = CancelIfOurs(run_id=run.id, state=run.state)
        ours = await self._dispatcher.request(order, timeout=ASK_TIMEOUT_SECONDS)
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
        known = await self._heartbeater.request(CurrentPool(), timeout=ASK_TIMEOUT_SECONDS)
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
            self._remark(run, UNPARSABLE.format(where=infrastructure_pid))
        elif where.host not in (None, self._settings.hostname):
            self._remark(
                run,
                f"This flow run's process {where.pid} is on host {where.host!r}; only a worker "
                "there can end it.",
            )
        elif where.host is not None and not self._pid_exists(where.pid):
            self._remark(run, f"Process {where.pid} is no longer there.")
            await self._force_cancelled(run, None)
        else:
            self._remark(
                run,
                f"Process {where.pid} was not started by this worker, so it is left alone.",
            )

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
        if self._remarks.get(run.id) == text:
            return
        _put(self._remarks, run.id, text)
        log.warning("cancel.remark", flow_run_id=run.id, flow_run_name=run.name, message=text)
        line = LogLine(
            flow_run_id=run.id, level=logging.WARNING, message=text, timestamp=self._clock.now()
        )
        self._log_shipper.tell(ShipLog(line))


def _put(said: dict[FlowRunId, T], run: FlowRunId, what: T) -> None:
    """Remember it, and forget the oldest in exchange."""
    if run not in said and len(said) >= MAX_REMARKS:
        said.pop(next(iter(said)))
    said[run] = what


def _same(now: State, before: State) -> bool:
    """Whether it is still being cancelled, as old servers or new ones name that."""
    return (now.type, now.name) == (before.type, before.name)
