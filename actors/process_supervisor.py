"""Sees one flow run through, from the claim to the last word at the server."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, assert_never

import structlog

from .domain import effects as do
from .domain import stimuli as on
from .domain.complaint import Complaint
from .domain.errors import (
    CouldNotStart,
    InvalidJob,
    KeeperError,
    NotFound,
    StateFolderError,
    is_final,
)
from .domain.ids import FlowRunId
from .domain.masking import Masker
from .domain.memory import exceeds
from .domain.model import Aborted, Accepted, LogLine, Proposal, StateType, Verdict, WorkPool
from .domain.policy import Backoff, seconds_until_start
from .domain.ports import Clock, Journal, KernelWitness, Launcher, Measure, Orchestrator
from .domain.preparation import Preparation, Prepare
from .domain.process import (
    KeptRun,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    ProcessIdentity,
    TreeGone,
)
from .domain.proposals import foreseen
from .domain.record import Phase, Reason
from .domain.run import step
from .domain.run_events import RunEvents
from .messages.outbox import EmitEvent, ShipLog
from .messages.pool import CurrentPool
from .messages.runs import (
    CancelRun,
    ClaimAnswered,
    CurrentSituation,
    EndRun,
    MemoryUsed,
    RunSettled,
    Situation,
    SlotFreed,
    SupervisorStart,
)
from .messages.supervision import (
    Again,
    Aside,
    Failed,
    Forgotten,
    Happened,
    Ready,
    Recall,
    Recalled,
    Said,
    SecretsLearned,
    Told,
)
from .run_output import WITHHELD, RunOutput, learn_secrets
from .runtime import Address, AsyncioActor

T = TypeVar("T")

POOL_TIMEOUT_SECONDS = 5.0

BACKOFF = Backoff(initial=0.5, ceiling=30.0)

MAX_UNMASKED = 200
"""How many pieces of output may wait until it is known what is secret in them."""

FORGET_TRIES = 8
"""A keeper that is out of reach for longer leaves the rest to the next worker."""

REPORT_REFUSALS = 150
"""How often in a row a report may be refused before it is given up: for more than an hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorPorts:
    """What all supervisors of one worker share."""

    orchestrator: Orchestrator
    launcher: Launcher
    journal: Journal
    measure: Measure | None
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
        self._witness: KernelWitness | None = None
        self._unmasked: list[ProcessExited | OutputWritten] | None = None
        self._proposing: do.Propose | None = None
        self._in_flight: do.Propose | None = None
        self._on_hold: list[ProcessFact | CancelRun | EndRun] | None = None
        self._asides = 0
        self._failures = 0
        self._refusals = 0
        self._is_saved = False
        self._settling: do.Settle | None = None
        self._complaint = Complaint()
        record = start.run.record
        self._output = RunOutput(record.key, ports.journal)
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
            case Happened(stimulus=stimulus):
                self._take(stimulus)
            case ProcessExited() | TreeGone() | OutputWritten() | CancelRun() | EndRun():
                self._hear(message)
            case MemoryUsed(used_bytes=used):
                self._memory_used(used)
            case CurrentSituation():
                return self._situation()
            case Recalled(kept=kept):
                self._recalled(kept)
            case Ready(preparation=preparation):
                self._ready(preparation)
            case Said():
                self._said(message)
            case SecretsLearned(masker=masker):
                self._secrets_learned(masker)
            case Again(effect=effect):
                self._try_again(effect)
            case Failed(effect=effect, error=error):
                self._failed(effect, error)
            case Aside(what=what, error=error):
                self._aside_over(what, error)
            case Forgotten():
                self._aside_over("keeper.forgot", None)
            case Told(what=what):
                self._log.debug("told", what=what)
            case _:
                super().on_receive(message)
        return None

    def _take(self, stimulus: on.Stimulus) -> None:
        before = self._run
        self._run, effects = step(before, stimulus, now=self._ports.clock.now())
        if self._run.record.pid is not None:
            self._log = self._log.bind(pid=self._run.record.pid)
        changed = self._run.record != before.record or isinstance(stimulus, on.Begun)
        if changed and not self._run.is_over:  # closed when the keeper has forgotten it
            self._save()
        if before.is_claiming and not self._run.is_claiming:
            self._ports.dispatcher.tell(ClaimAnswered(key=self._run.record.key))
        for effect in effects:
            self._carry_out(effect)

    def _save(self) -> None:
        """The record is written before anything is done, so that a successor can resume.

        A journal that cannot be written costs what a crash would need, never the run.
        """
        journal, record = self._ports.journal, self._run.record.for_keeping()
        try:
            if self._run.is_over:
                journal.close(record)
            else:
                journal.save(record)
            self._is_saved = True
        except StateFolderError as error:
            self._is_saved = False
            if self._complaint.raise_(str(error)):
                self._log.error("journal.failed", error=str(error))

    def _situation(self) -> Situation:
        record = self._run.record
        return Situation(
            key=record.key,
            run=record.run,
            claim=record.claim,
            holds_slot=self._run.holds_slot,
            claimed=not self._run.is_claiming,
        )

    # -- effects ---------------------------------------------------------------------------

    def _carry_out(self, effect: do.Effect) -> None:
        orchestrator = self._ports.orchestrator
        match effect:
            case do.Propose():
                self._propose(effect)
            case do.Prepare():
                self._wait(effect, self._read_and_prepare(), Ready)
            case do.WaitUntilDue(seconds=seconds):
                self.after(seconds, Happened(on.Due()))
            case do.Spawn():
                self._spawn(effect)
            case do.TellPid(pid=pid):
                where = f"{self._ports.hostname}:{pid}"
                self._wait(
                    effect,
                    orchestrator.set_infrastructure_pid(self._flow_run_id, where),
                    lambda _: Told("pid"),
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
                self._asides += 1
                self._failures = 0
                self._forget(effect)
            case _:
                assert_never(effect)

    def _propose(self, effect: do.Propose) -> None:
        """One at a time, so that an earlier state never arrives after a later one."""
        self._proposing = effect
        if self._in_flight is None:
            self._in_flight = effect
            self._wait(
                effect,
                self._say(effect.proposal),
                lambda answer: Said(effect, *answer),
            )

    async def _say(self, proposal: Proposal) -> tuple[Verdict, StateType | None]:
        """Propose, but look first whether it would destroy what others have set meanwhile.

        Only the first copy of a new claim needs no look: a poll has just brought the run.
        """
        orchestrator, run_id = self._ports.orchestrator, self._flow_run_id
        before: StateType | None = None
        if proposal.type is not StateType.PENDING or self._adopted or self._failures:
            state = (await orchestrator.read_flow_run(run_id)).state
            before = state.type
            verdict = foreseen(proposal, state)
            if verdict is None and proposal.type is StateType.PENDING and self._refusals:
                verdict = Aborted(state=state, reason="the claim was refused")
            if verdict is not None:
                return verdict, before
        return await orchestrator.propose_state(run_id, proposal), before

    def _said(self, said: Said) -> None:
        self._land(said.effect)
        proposal, verdict = said.effect.proposal, said.verdict
        never_ran = said.before is StateType.PENDING and proposal.type is StateType.CRASHED
        if never_ran and isinstance(verdict, Accepted):
            self._ship_output()
        self._take(on.Answered(proposal=proposal, verdict=verdict))

    def _ship_output(self) -> None:
        """What a run printed that never came to log by itself, into its log in the API."""
        for line in self._output.tail() if self._unmasked is None else ():
            self._ship(logging.INFO, line)

    def _land(self, effect: do.Propose) -> None:
        """The wait for an answer is over; send what has taken its place meanwhile."""
        self._in_flight = None
        if self._proposing is not None and self._proposing is not effect:
            self._propose(self._proposing)

    async def _read_and_prepare(self) -> Preparation:
        if self._pool is None:
            self._pool = await self._ports.heartbeater.request(
                CurrentPool(), timeout=POOL_TIMEOUT_SECONDS
            )
        if self._pool is None:
            raise KeeperError("the work pool is not known yet")
        record = self._run.record
        if self._adopted:  # its record was kept without them
            fresh = await self._ports.orchestrator.read_flow_run(self._flow_run_id)
            given = replace(
                record.run, job_variables=fresh.job_variables, parameters=fresh.parameters
            )
            record = replace(record, run=given)
        return await self._ports.prepare(record, self._pool)

    def _ready(self, preparation: Preparation) -> None:
        self._preparation = preparation
        self._output.know(preparation.masker)
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
            self._spawned,
        )

    def _spawned(self, identity: ProcessIdentity) -> Happened:
        self._attend(identity.pid)
        return Happened(on.Spawned(pid=identity.pid))

    def _attend(self, pid: int) -> None:
        if self._ports.measure is not None:
            self._witness = self._ports.measure.witness(pid)

    def _memory_used(self, used_bytes: int) -> None:
        if self._witness is not None:
            self._witness.look()
        record = self._run.record
        limit = record.job.limits.memory_limit_mb if record.job is not None else None
        if record.reason is None and exceeds(used_bytes, limit):
            self._log.warning("run.memory_limit", used_bytes=used_bytes, limit_mb=limit)
            self._hear(EndRun(reason=Reason.OUT_OF_MEMORY_LIMIT))

    def _end_tree(self, effect: do.EndTree) -> None:
        order = self._ports.launcher.end_tree(
            self._run.record.key,
            signal=effect.signal,
            grace_seconds=effect.grace_seconds,
            announce_cancel=effect.announce_cancel,
        )
        self._wait(effect, order, lambda _: Told("end of the tree"))

    def _forget(self, effect: do.Settle) -> None:
        """First the keeper forgets, the journal last of all: whatever comes between is resumed.

        But what could not be written down stays with the keeper, or a successor that reads an
        old record would believe that the run was lost.
        """
        if not self._is_saved:
            self._save()
        if self._is_saved:
            forgetting = self._ports.launcher.forget(self._run.record.key)
            self._wait(effect, forgetting, lambda _: Forgotten())
        else:
            self._aside_over("keeper.kept", None)

    async def _check_state(self) -> None:
        run = await self._ports.orchestrator.read_flow_run(self._flow_run_id)
        self.actor_ref.tell(Happened(on.StateSeen(state=run.state)))

    def _remark(self, remark: do.Remark) -> None:
        text = self._output.mask(remark.text)
        self._log.log(remark.level, "run.remark", text=text)
        if not remark.local:
            self._ship(remark.level, text)

    def _ship(self, level: int, text: str) -> None:
        line = LogLine(
            flow_run_id=self._flow_run_id,
            level=level,
            message=text,
            timestamp=self._ports.clock.now(),
        )
        self._ports.log_shipper.tell(ShipLog(line))

    # -- waits ---------------------------------------------------------------------------------

    def _wait(
        self,
        effect: do.Effect | Recall,
        wait: Awaitable[T],
        on_result: Callable[[T], object],
    ) -> None:
        self.pipe(wait, on_result=on_result, on_error=lambda error: Failed(effect, error))

    def _failed(self, effect: do.Effect | Recall, error: Exception) -> None:
        """A wait of the way in or out failed: for good, or worth another try after a pause."""
        self._failures += 1
        if isinstance(effect, do.Propose):
            self._land(effect)
        match effect:
            case do.Propose(proposal=proposal) if self._is_final(proposal, error):
                self._take(on.Unanswerable(proposal=proposal, cause=str(error)))
            case do.Prepare() if isinstance(error, NotFound):
                self._take(on.CouldNotPrepare(cause=str(error), deployment_missing=True))
            case do.Prepare() if is_final(error) or isinstance(error, InvalidJob):
                self._take(on.CouldNotPrepare(cause=self._output.mask(str(error))))
            case do.Spawn() if isinstance(error, CouldNotStart):
                self._take(on.CouldNotSpawn(cause=self._output.mask(str(error))))
            case do.Settle() if self._failures > FORGET_TRIES:
                self._aside_over("keeper.forgot", error)
            case do.TellPid() if is_final(error):
                self._log.warning("aside.failed", what="pid.told", error=str(error))
            case _:
                self._try_later(effect, error)

    def _is_final(self, proposal: Proposal, error: Exception) -> bool:
        """A deleted run needs nothing. Else what is refused may be a proxy's word, not Prefect's.

        So a report is repeated for more than an hour, and a claim looked at before it is given
        up: should it have been taken all the same, it must not be left Pending.
        """
        if isinstance(error, NotFound):
            return True
        self._refusals = self._refusals + 1 if is_final(error) else 0
        return self._refusals > REPORT_REFUSALS and proposal.type is not StateType.PENDING

    def _try_later(self, effect: do.Effect | Recall, error: Exception) -> None:
        if self._complaint.raise_(str(error)):
            phase = self._run.record.phase
            self._log.warning("run.delayed", phase=phase, error=str(error) or repr(error))
        self.after(BACKOFF.delay(self._failures, self._ports.rng), Again(effect))

    def _try_again(self, effect: do.Effect | Recall) -> None:
        """Unless the run has gone on since.

        Whether an unanswered order to spawn was carried out is asked, not assumed: what was
        wanted of the run may have changed.
        """
        phase = self._run.record.phase
        match effect:
            case do.Propose() if effect is not self._proposing or self._in_flight is not None:
                return
            case do.Spawn():
                if phase is Phase.SPAWNING:
                    self._recall()
            case do.EndTree() | do.TellPid() if phase is not Phase.RUNNING:
                return
            case Recall():
                self._recall()
            case do.Settle():
                self._forget(effect)
            case _:
                self._carry_out(effect)

    def _aside(self, what: str, wait: Awaitable[object]) -> None:
        self._asides += 1
        self.pipe(
            wait,
            on_result=lambda _: Aside(what),
            on_error=lambda error: Aside(what, error),
        )

    def _aside_over(self, what: str, error: Exception | None) -> None:
        self._asides -= 1
        if error is not None:
            self._log.warning("aside.failed", what=what, error=str(error))
        if self._settling is not None and self._asides == 0:
            reason = self._settling.reason
            self._save()
            self._log.info("run.settled", reason=reason)
            self._ports.dispatcher.tell(RunSettled(key=self._run.record.key, reason=reason))
            self.stop()

    # -- what keeper and house have to say -------------------------------------------------------

    def _listen(self, fact: ProcessFact) -> None:
        self.actor_ref.tell_if_alive(fact)

    def _hear(self, message: ProcessFact | CancelRun | EndRun) -> None:
        """Not before it is known what there is: after a reboot nothing may be signalled."""
        if self._on_hold is not None:
            self._on_hold.append(message)
            return
        match message:
            case ProcessExited() | OutputWritten() if self._unmasked is not None:
                if isinstance(message, ProcessExited) or len(self._unmasked) < MAX_UNMASKED:
                    self._unmasked.append(message)
            case CancelRun(state=state):
                self._take(on.CancelWanted(state=state))
            case EndRun(reason=reason):
                self._take(on.EndWanted(reason=reason))
            case ProcessExited(status=status):
                self._log.info("run.exited", code=status.code)
                killed = self._witness is not None and self._witness.saw_a_kill()
                self._take(on.Exited(status=status, tail=self._output.tail(), kernel_kill=killed))
            case TreeGone(leftovers=leftovers):
                self._take(on.Vacated(leftovers=len(leftovers.processes)))
            case OutputWritten(lines=lines, dropped=dropped):
                self._print(lines, dropped)

    def _print(self, lines: tuple[str, ...], dropped: int) -> None:
        job = self._run.record.job
        if job is None or job.stream_output:
            self._output.show(self._log, lines, dropped)

    # -- after a crash of the worker -------------------------------------------------------------

    def _recall(self) -> None:
        if self._on_hold is None:
            self._on_hold = []
        watching = self._ports.launcher.watch(self._run.record.key, self._listen)
        self._wait(Recall(), watching, Recalled)

    def _recalled(self, kept: KeptRun | None) -> None:
        pid = None if kept is None else kept.identity.pid
        if kept is not None and kept.exit is None:
            self._attend(kept.identity.pid)
        self._log.info("run.adopted", phase=self._run.record.phase, pid=pid)
        self._take(on.Adopted(pid=pid, rebooted=kept is not None and kept.rebooted))
        if kept is not None:
            self._unmasked = []
            learning = learn_secrets(
                self._read_secrets, clock=self._ports.clock, rng=self._ports.rng
            )
            self.pipe(learning, on_result=SecretsLearned)
        held, self._on_hold = self._on_hold, None
        for message in held or ():
            self._hear(message)

    async def _read_secrets(self) -> Masker:
        return (await self._read_and_prepare()).masker

    def _secrets_learned(self, masker: Masker | None) -> None:
        if masker is None:
            self._log.warning("run.output_withheld", hint=WITHHELD)
        self._output.know(masker)
        held, self._unmasked = self._unmasked, None
        for message in held or ():
            self._hear(message)

    @property
    def _flow_run_id(self) -> FlowRunId:
        return self._run.record.run.id
