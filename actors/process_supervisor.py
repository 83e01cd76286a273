"""Sees one flow run through, from the claim to the last word at the server."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, assert_never

import structlog

from .domain import effects as do
from .domain import stimuli as on
from .domain.complaint import Complaint
from .domain.errors import (
    CouldNotStart,
    Forbidden,
    InvalidJob,
    KeeperError,
    NotFound,
    Refused,
    StateFolderError,
    Unauthorized,
)
from .domain.ids import FlowRunId
from .domain.masking import Masker
from .domain.model import LogLine, Proposal, WorkPool
from .domain.policy import Backoff, seconds_until_start
from .domain.ports import Clock, Journal, Launcher, Orchestrator
from .domain.preparation import Preparation, Prepare
from .domain.process import KeptRun, OutputWritten, ProcessExited, ProcessFact, TreeGone
from .domain.record import Reason
from .domain.run import step
from .domain.run_events import RunEvents
from .messages.outbox import EmitEvent, ShipLog
from .messages.pool import CurrentPool
from .messages.runs import (
    CancelRun,
    ClaimAnswered,
    CurrentSituation,
    EndRun,
    RunSettled,
    Situation,
    SlotFreed,
    SupervisorStart,
)
from .runtime import Address, AsyncioActor

T = TypeVar("T")

TAIL_LINES = 50
"""How many of a run's last lines of output its crash message may draw on."""

POOL_TIMEOUT_SECONDS = 5.0

BACKOFF = Backoff(initial=0.5, ceiling=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorPorts:
    """What all supervisors of one worker share."""

    orchestrator: Orchestrator
    launcher: Launcher
    journal: Journal
    clock: Clock
    rng: random.Random
    prepare: Prepare
    events: RunEvents
    hostname: str
    labels: Callable[[WorkPool], Mapping[str, str]]
    dispatcher: Address
    heartbeater: Address
    event_emitter: Address
    log_shipper: Address


@dataclass(frozen=True, slots=True)
class _Happened:
    stimulus: on.Stimulus


@dataclass(frozen=True, slots=True)
class _Recalled:
    kept: KeptRun | None


@dataclass(frozen=True, slots=True)
class _Recall:
    """Ask the keeper (again) what became of an adopted run."""


@dataclass(frozen=True, slots=True)
class _Ready:
    preparation: Preparation


@dataclass(frozen=True, slots=True)
class _Failed:
    effect: do.Effect | _Recall
    error: Exception


@dataclass(frozen=True, slots=True)
class _Again:
    """What failed for a passing reason is due again."""

    effect: do.Effect | _Recall


@dataclass(frozen=True, slots=True)
class _Aside:
    """A wait that the run does not depend on is over."""

    what: str
    error: Exception | None = None


class ProcessSupervisor(AsyncioActor):
    """Owns: _run, the state of one flow run from claim to the last report.

    Temporary: never restarted. Whatever ends it, its record in the journal says how far it came,
    and a successor started by the Dispatcher resumes from there.
    """

    def __init__(self, start: SupervisorStart, ports: SupervisorPorts) -> None:
        super().__init__(clock=ports.clock)
        self._run = start.run
        self._pool = start.pool
        self._adopted = start.adopted
        self._ports = ports
        self._preparation: Preparation | None = None
        self._masker = Masker()
        self._proposing: Proposal | None = None
        self._facts_on_hold: list[ProcessFact] | None = [] if start.adopted else None
        self._asides = 0
        self._failures = 0
        self._settling: do.Settle | None = None
        self._complaint = Complaint()
        record = start.run.record
        self._log = structlog.get_logger("actors.process_supervisor").bind(
            flow_run_id=record.run.id, flow_run_name=record.run.name
        )

    # -- messages --------------------------------------------------------------------------

    def on_start(self) -> None:
        """A new run is claimed; an adopted one is first looked up at the keeper."""
        if self._adopted:
            self._recall()
        else:
            self._take(on.Begun())

    def on_receive(self, message: object) -> Situation | None:
        """Turn what happened into stimuli; the machine in ``domain/run.py`` decides."""
        match message:
            case _Happened(stimulus=stimulus):
                self._take(stimulus)
            case ProcessExited() | TreeGone() | OutputWritten():
                self._hear(message)
            case CancelRun(state=state):
                self._take(on.CancelWanted(state=state))
            case EndRun(reason=reason):
                self._take(on.EndWanted(reason=reason))
            case CurrentSituation():
                return self._situation()
            case _Recalled(kept=kept):
                self._recalled(kept)
            case _Ready(preparation=preparation):
                self._ready(preparation)
            case _Again(effect=effect):
                self._try_again(effect)
            case _Failed(effect=effect, error=error):
                self._failed(effect, error)
            case _Aside(what=what, error=error):
                self._aside_over(what, error)
            case _:
                super().on_receive(message)
        return None

    def _take(self, stimulus: on.Stimulus) -> None:
        before = self._run
        self._run, effects = step(before, stimulus, now=self._ports.clock.now())
        if self._run.record != before.record or isinstance(stimulus, on.Begun):
            self._save()
        if before.is_claiming and not self._run.is_claiming:
            self._ports.dispatcher.tell(ClaimAnswered(key=self._run.record.key))
        for effect in effects:
            self._carry_out(effect)

    def _save(self) -> None:
        """The record is written before anything is done, so that a successor can resume.

        A journal that cannot be written costs what a crash would need, never the run.
        """
        journal, record = self._ports.journal, self._run.record
        try:
            if self._run.is_over:
                journal.close(record)
            else:
                journal.save(record)
        except StateFolderError as error:
            if self._complaint.raise_(str(error)):
                self._log.error("journal.failed", error=str(error))

    def _situation(self) -> Situation:
        record = self._run.record
        return Situation(
            key=record.key,
            run=record.run,
            holds_slot=self._run.holds_slot,
            claimed=not self._run.is_claiming,
        )

    # -- effects ---------------------------------------------------------------------------

    def _carry_out(self, effect: do.Effect) -> None:
        orchestrator = self._ports.orchestrator
        match effect:
            case do.Propose(proposal=proposal):
                self._propose(effect, proposal)
            case do.Prepare():
                self._wait(effect, self._read_and_prepare(), _Ready)
            case do.WaitUntilDue(seconds=seconds):
                self.after(seconds, _Happened(on.Due()))
            case do.Spawn():
                self._spawn(effect)
            case do.TellPid(pid=pid):
                where = f"{self._ports.hostname}:{pid}"
                self._aside(
                    "pid.told", orchestrator.set_infrastructure_pid(self._flow_run_id, where)
                )
            case do.AddLabels():
                if self._pool is not None:
                    labels = self._ports.labels(self._pool)
                    self._aside("labels", orchestrator.add_labels(self._flow_run_id, labels))
            case do.EndTree():
                self._end_tree(effect)
            case do.StartTimeout(seconds=seconds):
                self.after(seconds, EndRun(reason=Reason.TIMED_OUT))
            case do.Emit(kind=kind):
                event = self._ports.events.build(kind, self._run.record, self._ports.clock.now())
                self._ports.event_emitter.tell(EmitEvent(event))
            case do.Remark():
                self._remark(effect)
            case do.CheckState():
                self._aside("state.checked", self._check_state())
            case do.FreeSlot():
                self._ports.dispatcher.tell(SlotFreed(key=self._run.record.key))
            case do.Settle():
                self._settling = effect
                self._aside("keeper.forgot", self._ports.launcher.forget(self._run.record.key))
            case _:
                assert_never(effect)

    def _propose(self, effect: do.Propose, proposal: Proposal) -> None:
        self._proposing = proposal
        self._wait(
            effect,
            self._ports.orchestrator.propose_state(self._flow_run_id, proposal),
            lambda verdict: _Happened(on.Answered(proposal=proposal, verdict=verdict)),
        )

    async def _read_and_prepare(self) -> Preparation:
        if self._pool is None:
            self._pool = await self._ports.heartbeater.request(
                CurrentPool(), timeout=POOL_TIMEOUT_SECONDS
            )
        if self._pool is None:
            raise KeeperError("the work pool is not known yet")
        return await self._ports.prepare(self._run.record, self._pool)

    def _ready(self, preparation: Preparation) -> None:
        self._preparation = preparation
        self._masker = preparation.masker
        note = preparation.note
        due_in = seconds_until_start(
            self._run.record.run.due,
            self._ports.clock.now(),
            may_start_early=note.is_engine or note.uses_runner,
        )
        self._take(on.Prepared(job=note, related=preparation.related, due_in=due_in))

    def _spawn(self, effect: do.Spawn) -> None:
        assert self._preparation is not None, "Spawn follows Prepared"
        self._wait(
            effect,
            self._ports.launcher.spawn(self._preparation.order, self._listen),
            lambda identity: _Happened(on.Spawned(pid=identity.pid)),
        )

    def _end_tree(self, effect: do.EndTree) -> None:
        order = self._ports.launcher.end_tree(
            self._run.record.key,
            signal=effect.signal,
            grace_seconds=effect.grace_seconds,
            announce_cancel=effect.announce_cancel,
        )
        self._wait(effect, order, lambda _: _Aside("tree.ending"))
        self._asides += 1

    async def _check_state(self) -> None:
        run = await self._ports.orchestrator.read_flow_run(self._flow_run_id)
        self.actor_ref.tell(_Happened(on.StateSeen(state=run.state)))

    def _remark(self, remark: do.Remark) -> None:
        text = self._masker.text(remark.text)
        self._log.log(remark.level, "run.remark", text=text)
        if remark.local:
            return
        line = LogLine(
            flow_run_id=self._flow_run_id,
            level=remark.level,
            message=text,
            timestamp=self._ports.clock.now(),
        )
        self._ports.log_shipper.tell(ShipLog(line))

    # -- waits ---------------------------------------------------------------------------------

    def _wait(
        self,
        effect: do.Effect | _Recall,
        wait: Awaitable[T],
        on_result: Callable[[T], object],
    ) -> None:
        self.pipe(wait, on_result=on_result, on_error=lambda error: _Failed(effect, error))

    def _failed(self, effect: do.Effect | _Recall, error: Exception) -> None:
        """A wait of the way in or out failed: for good, or worth another try after a pause."""
        final = isinstance(error, Refused) and not isinstance(error, Unauthorized | Forbidden)
        match effect:
            case do.Propose(proposal=proposal) if final:
                self._take(on.Unanswerable(proposal=proposal, cause=str(error)))
            case do.Prepare() if isinstance(error, NotFound):
                self._take(on.CouldNotPrepare(cause=str(error), deployment_missing=True))
            case do.Prepare() if final or isinstance(error, InvalidJob):
                self._take(on.CouldNotPrepare(cause=self._masker.text(str(error))))
            case do.Spawn() if isinstance(error, CouldNotStart):
                self._take(on.CouldNotSpawn(cause=self._masker.text(str(error))))
            case _:
                self._failures += 1
                if self._complaint.raise_(str(error)):
                    phase = self._run.record.phase
                    self._log.warning("run.delayed", phase=phase, error=str(error) or repr(error))
                pause = BACKOFF.delay(self._failures, self._ports.rng)
                self.after(pause, _Again(effect))

    def _try_again(self, effect: do.Effect | _Recall) -> None:
        if isinstance(effect, _Recall):
            self._recall()
        elif not (isinstance(effect, do.Propose) and effect.proposal is not self._proposing):
            self._carry_out(effect)

    def _aside(self, what: str, wait: Awaitable[object]) -> None:
        self._asides += 1
        self.pipe(
            wait,
            on_result=lambda _: _Aside(what),
            on_error=lambda error: _Aside(what, error),
        )

    def _aside_over(self, what: str, error: Exception | None) -> None:
        self._asides -= 1
        if error is not None:
            self._log.warning("aside.failed", what=what, error=str(error))
        if self._settling is not None and self._asides == 0:
            reason = self._settling.reason
            self._log.info("run.settled", reason=reason)
            self._ports.dispatcher.tell(RunSettled(key=self._run.record.key, reason=reason))
            self.stop()

    # -- facts from the keeper -----------------------------------------------------------------

    def _listen(self, fact: ProcessFact) -> None:
        self.actor_ref.tell_if_alive(fact)

    def _hear(self, fact: ProcessFact) -> None:
        if self._facts_on_hold is not None:
            self._facts_on_hold.append(fact)
            return
        match fact:
            case ProcessExited(status=status):
                tail = self._ports.journal.output_tail(fact.key, TAIL_LINES)
                self._log.info("run.exited", code=status.code, pid=self._run.record.pid)
                masked = tuple(self._masker.text(line) for line in tail)
                self._take(on.Exited(status=status, tail=masked))
            case TreeGone(leftovers=leftovers):
                self._take(on.Vacated(leftovers=len(leftovers.processes)))
            case OutputWritten(lines=lines, dropped=dropped):
                self._print(lines, dropped)

    def _print(self, lines: tuple[str, ...], dropped: int) -> None:
        job = self._run.record.job
        if job is not None and not job.stream_output:
            return
        if dropped:
            self._log.warning("run.output_dropped", bytes=dropped)
        for line in lines:
            self._log.info("run.output", line=self._masker.text(line))

    # -- after a crash of the worker ---------------------------------------------------------------

    def _recall(self) -> None:
        watching = self._ports.launcher.watch(self._run.record.key, self._listen)
        self._wait(_Recall(), watching, _Recalled)

    def _recalled(self, kept: KeptRun | None) -> None:
        pid = None if kept is None else kept.identity.pid
        self._log.info("run.adopted", phase=self._run.record.phase, pid=pid)
        self._take(on.Adopted(pid=pid, rebooted=kept is not None and kept.rebooted))
        held, self._facts_on_hold = self._facts_on_hold, None
        for fact in held or ():
            self._hear(fact)

    @property
    def _flow_run_id(self) -> FlowRunId:
        return self._run.record.run.id
