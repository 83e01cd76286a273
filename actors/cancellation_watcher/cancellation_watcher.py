"""Finds runs that are being cancelled, and sees to it that they end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from ..domain.ids import FlowRunId
from ..domain.model import Deployment, FlowRun, StateType, WorkPool
from ..domain.policy import jittered
from ..domain.ports import Clock, Orchestrator
from ..messages.cancellation_watcher import EventsFlow, LookNow, RunCancelling
from ..messages.dispatcher import CancelIfOurs, ListRuns
from ..messages.guardian import FatalError, Round, RoundEnded
from ..messages.services import Peers, ServiceSettings
from ..periodic_actor import PeriodicActor, PeriodicView
from ..runtime import ActorDeadError, Timeout
from .foreign_runs import ASK_TIMEOUT_SECONDS, ForeignRuns

log = structlog.get_logger("actors.cancellation_watcher")

REMEMBERED_SECONDS: Final = 600.0
"""How long a run is not looked at again."""

SAFETY_NET_SECONDS: Final = 60.0
"""Between two looks while the server tells of cancellations by itself."""


@dataclass(frozen=True, slots=True)
class _Handled:
    """A run was told to end, or reported; ``error``: neither."""

    run_id: FlowRunId
    ours: bool = False
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Confirmed:
    """What the server says of a run whose cancellation was an event; None: it is not ours."""

    run: FlowRun | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationWatcherView(PeriodicView):
    """What the CancellationWatcher shows of itself."""

    cancelling: frozenset[FlowRunId]
    """The runs that are not looked at again for a while."""
    relies_on_events: bool
    """Whether it looks less often, because it is told."""


class CancellationWatcher(PeriodicActor[list[FlowRun]]):
    """Owns: _cancelling (flow run id -> when it may be looked at again), _foreign, _flowing
    (whether events tell of all cancellations), _relies_on_events (a look has succeeded since).

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
        self._peers = peers
        self._foreign = ForeignRuns(
            orchestrator=orchestrator,
            clock=clock,
            rng=rng,
            hostname=settings.hostname,
            pid_exists=pid_exists,
            uses_runner=uses_runner,
            peers=peers,
        )
        self._being_handled = 0
        self._first_round_over = False
        self._cancelling: dict[FlowRunId, float] = {}
        self._flowing = self._relies_on_events = self._looks_on_stream = False

    def inspect(self) -> CancellationWatcherView:
        return CancellationWatcherView(
            cancelling=frozenset(self._cancelling),
            relies_on_events=self._relies_on_events,
            trouble=self._trouble.reported,
        )

    def on_receive(self, message: object) -> None:
        match message:
            case _Handled():
                self._handled(message)
            case LookNow():
                self.wake()
            case EventsFlow(flowing=flowing):
                self._events_flow(flowing)
            case RunCancelling(run_id=run_id):
                self._confirm(run_id)
            case _Confirmed(run=run):
                self._confirmed(run)
            case _:
                super().on_receive(message)

    def pause_seconds(self) -> float:
        """Twice the pause between polls, as at Prefect, unless events tell all there is to see."""
        pause = 2 * self._settings.query_seconds
        if self._relies_on_events:
            pause = max(pause, SAFETY_NET_SECONDS)
        return jittered(pause, self._rng)

    async def work(self) -> list[FlowRun]:
        self._looks_on_stream = self._flowing
        now = self._clock.monotonic()
        self._cancelling = {r: until for r, until in self._cancelling.items() if until > now}
        return await self._orchestrator.read_cancelling_runs(
            self._settings.pool, self._settings.queues, excluding=tuple(self._cancelling)
        )

    def round_ended(self, result: list[FlowRun]) -> None:
        super().round_ended(result)
        self._relies_on_events = self._flowing and self._looks_on_stream
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

    def _events_flow(self, flowing: bool) -> None:
        """Look at once after a change: what happened meanwhile was not told."""
        if flowing != self._flowing:
            self._flowing, self._relies_on_events = flowing, False
            self.wake()

    def _confirm(self, run_id: FlowRunId) -> None:
        if run_id not in self._cancelling:
            self.pipe(
                self._read_if_ours(run_id),
                on_result=_Confirmed,
                on_error=lambda _: _Confirmed(None),
            )

    async def _read_if_ours(self, run_id: FlowRunId) -> FlowRun | None:
        runs = await self._peers.dispatcher.request(ListRuns(), timeout=ASK_TIMEOUT_SECONDS)
        if all(info.run.id != run_id for info in runs):
            return None
        return await self._orchestrator.read_flow_run(run_id)

    def _confirmed(self, run: FlowRun | None) -> None:
        """What is not ours, or not so far, is left to a look that is not much later."""
        if run is not None and _is_being_cancelled(run):
            self._handle(run)
        elif run is None or not run.state.type.is_terminal:
            usual = min(2 * self._settings.query_seconds, SAFETY_NET_SECONDS)
            self.after(jittered(usual if run is None else 1.0, self._rng), LookNow())

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
            self._foreign.remarks_about(run_id).log_failure(
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
            await self._foreign.cancel(run)
        return ours


def _is_being_cancelled(run: FlowRun) -> bool:
    """Old clients call it Cancelled by the name of Cancelling."""
    return run.state.type is StateType.CANCELLING or run.state.name == "Cancelling"
