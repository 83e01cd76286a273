"""Sees one flow run through, from the claim to the last word at the server."""

from __future__ import annotations

from .domain import effects as do
from .domain import stimuli as on
from .domain.errors import CouldNotStart
from .domain.masking import Masker
from .domain.memory import exceeds
from .domain.ports import KernelWitness
from .domain.process import (
    KeptRun,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    ProcessIdentity,
    TreeGone,
)
from .domain.record import Phase, Reason, RunRecord
from .domain.run import step
from .messages.runs import (
    CancelRun,
    ClaimAnswered,
    CurrentSituation,
    EndRun,
    GiveBack,
    MemoryLimited,
    MemoryUsed,
    RunSettled,
    Situation,
    SupervisorStart,
)
from .messages.supervision import (
    Again,
    Aside,
    Checked,
    Failed,
    Happened,
    ProcessStarted,
    Ready,
    Recall,
    Recalled,
    Said,
    SecretsLearned,
    Told,
)
from .parts.record_keeping import RecordKeeping
from .parts.run_effects import RunEffects
from .parts.run_output import WITHHELD, RunOutput, learn_secrets
from .parts.supervisor_ports import SupervisorPorts
from .runtime import AsyncioActor


class ProcessSupervisor(AsyncioActor):
    """Owns: _run, the state of one flow run from claim to the last report.

    The machine in ``domain/run.py`` decides, the hands carry it out. Temporary: never restarted.
    Whatever ends it, its record in the journal says how far it came, and a successor started by
    the Dispatcher resumes from there.
    """

    def __init__(self, start: SupervisorStart, ports: SupervisorPorts) -> None:
        super().__init__(clock=ports.clock)
        self._run = start.run
        self._adopted = start.adopted
        self._failure = start.failure
        self._ports = ports
        self._keeping = RecordKeeping(ports.journal)
        self._output = RunOutput(start.run.record, ports.journal)
        self._hands = RunEffects(self, ports, start, self._output)
        self._witness: KernelWitness | None = None
        self._memory_limited: ProcessIdentity | None = None
        self._on_hold: list[ProcessFact | CancelRun | EndRun] | None = None
        self._settling: do.Settle | None = None
        self._could_not_spawn: on.CouldNotSpawn | None = None

    @property
    def _record(self) -> RunRecord:
        return self._run.record

    # -- messages --------------------------------------------------------------------------

    def on_start(self) -> None:
        """A new run is claimed; an adopted one is first looked up at the keeper.

        Unless supervisor after supervisor has failed: then the run is ended without a look.
        """
        if self._failure is not None:
            self._take(on.WorkerFailed(cause=self._failure))
        elif self._adopted:
            self._recall()
        else:
            self._take(on.Begun())

    def on_receive(self, message: object) -> Situation | bool | None:
        """Turn what happened into stimuli for the machine."""
        match message:
            case Happened(stimulus=stimulus):
                self._take(stimulus)
            case ProcessStarted(process=process):
                self._attend(process)
                self._take(on.Spawned(pid=process.pid))
            case ProcessExited() | TreeGone() | OutputWritten() | CancelRun() | EndRun():
                self._hear(message)
            case MemoryUsed(used_bytes=used):
                self._memory_used(used)
            case GiveBack():
                gives_back = self._run.is_unstarted
                self._take(on.GivenUp())
                return gives_back
            case CurrentSituation():
                return self._situation()
            case Recalled(kept=kept):
                self._recalled(kept)
            case Ready(preparation=preparation):
                self._secrets_learned(preparation.masker)
                self._take(self._hands.ready(preparation, self._record))
            case Said():
                self._take(self._hands.said(message, self._record))
            case Checked(state=state):
                self._take(self._hands.checked(state))
                self._leave_if_done()
            case SecretsLearned(masker=masker):
                self._secrets_learned(masker)
            case Again(effect=effect):
                self._try_again(effect)
            case Failed(effect=effect, error=error):
                self._failed(effect, error)
            case Aside(what=what, error=error):
                self._hands.aside_over(what, error)
                self._leave_if_done()
            case Told(what=what):
                self._output.log.debug("told", what=what)
            case _:
                super().on_receive(message)
        return None

    def _take(self, stimulus: on.Stimulus) -> None:
        before = self._run
        self._run, effects = step(before, stimulus, now=self._ports.clock.now())
        self._output.identify(self._record)
        changed = self._record != before.record or isinstance(stimulus, on.Begun)
        if changed and not self._run.is_over:  # closed when the keeper has forgotten it
            self._save()
        if before.is_claiming and not self._run.is_claiming:
            self._ports.dispatcher.tell(ClaimAnswered(key=self._record.key))
        for effect in effects:
            self._carry_out(effect)

    def _save(self) -> None:
        self._complain(self._keeping.save(self._run))

    def _complain(self, trouble: str | None) -> None:
        if trouble is not None:
            self._output.log.error("journal.failed", error=trouble)

    def _situation(self) -> Situation:
        return Situation(
            key=self._record.key,
            run=self._record.run,
            claim=self._record.claim,
            holds_slot=self._run.holds_slot,
            claimed=not self._run.is_claiming,
            memory_limited=self._memory_limited,
        )

    # -- effects ---------------------------------------------------------------------------

    def _carry_out(self, effect: do.Effect) -> None:
        if isinstance(effect, do.Settle):
            self._settle(effect)
        elif isinstance(effect, do.Abandon):
            self._hands.carry_out(effect, self._record)
            self._leave(self._record.reason)
        else:
            self._hands.carry_out(effect, self._record)

    def _settle(self, effect: do.Settle) -> None:
        """First the keeper forgets, the journal last of all: whatever comes between is resumed.

        But what could not be written down stays with the keeper, or a successor that reads an
        old record would believe that the run was lost.
        """
        self._settling = effect
        if not self._keeping.is_saved:
            self._complain(self._keeping.save_as_unsettled(self._run))
        if self._keeping.is_saved:
            self._hands.carry_out(effect, self._record)
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._settling is not None and self._hands.are_idle:
            reason = self._settling.reason
            if self._hands.has_ended_tree:
                self._complain(self._keeping.close(self._run))
            self._output.log.info("run.settled", reason=None if reason is None else str(reason))
            self._leave(reason)

    def _leave(self, reason: Reason | None) -> None:
        self._ports.dispatcher.tell(RunSettled(key=self._record.key, reason=reason))
        self.stop()

    def _failed(self, effect: do.Effect | Recall, error: Exception) -> None:
        stimulus = self._hands.failed(effect, error, self._record)
        if isinstance(stimulus, on.CouldNotSpawn) and not isinstance(error, CouldNotStart):
            self._could_not_spawn = stimulus  # unless the keeper has started something
            self._try_again(effect)
        elif stimulus is not None:
            self._take(stimulus)
        self._leave_if_done()

    def _try_again(self, effect: do.Effect | Recall) -> None:
        """Whether an unanswered order to spawn was carried out is asked, not assumed.

        What was wanted of the run may have changed meanwhile.
        """
        if isinstance(effect, Recall):
            self._recall()
        elif not isinstance(effect, do.Spawn):
            self._hands.repeat(effect, self._record)
        elif self._record.phase is Phase.SPAWNING:
            self._recall()

    # -- what keeper and house have to say -------------------------------------------------------

    def _hear(self, message: ProcessFact | CancelRun | EndRun) -> None:
        """Not before it is known what there is: after a reboot nothing may be signalled."""
        if self._on_hold is not None:
            self._on_hold.append(message)
            return
        match message:
            case OutputWritten() if self._output.holds(message):
                pass
            case CancelRun(state=state):
                self._take(on.CancelWanted(state=state))
            case EndRun(reason=reason):
                self._take(on.EndWanted(reason=reason))
            case ProcessExited(status=status):
                self._output.log.info("run.exited", code=status.code)
                killed = self._witness is not None and self._witness.saw_a_kill()
                self._take(
                    on.Exited(
                        status=status,
                        tail=self._output.tail(),
                        kernel_kill=killed,
                        tail_follows=self._output.is_withheld,
                    )
                )
            case TreeGone(leftovers=leftovers):
                self._take(on.Vacated(leftovers=len(leftovers.processes)))
            case OutputWritten(lines=lines, dropped=dropped):
                if self._record.job is None or self._record.job.stream_output:
                    self._output.show(lines, dropped)

    def _attend(self, process: ProcessIdentity) -> None:
        if self._ports.measure is not None:
            self._witness = self._ports.measure.witness(process.pid)
        if self._memory_limit_mb is not None:
            self._memory_limited = process
            limited = MemoryLimited(key=self._record.key, process=process)
            self._ports.dispatcher.tell(limited)

    @property
    def _memory_limit_mb(self) -> float | None:
        job = self._record.job
        return None if job is None else job.limits.memory_limit_mb

    def _memory_used(self, used_bytes: int) -> None:
        limit = self._memory_limit_mb
        if self._record.reason is None and exceeds(used_bytes, limit):
            self._output.log.warning("run.memory_limit", used_bytes=used_bytes, limit_mb=limit)
            self._hear(EndRun(reason=Reason.OUT_OF_MEMORY_LIMIT))

    # -- after a crash of the worker -------------------------------------------------------------

    def _recall(self) -> None:
        if self._on_hold is None:
            self._on_hold = []
        self._hands.recall(self._record)

    def _recalled(self, kept: KeptRun | None) -> None:
        pid = None if kept is None else kept.identity.pid
        if kept is not None and kept.exit is None:
            self._attend(kept.identity)
        self._output.log.info("run.adopted", phase=self._record.phase, pid=pid)
        could_not_spawn, self._could_not_spawn = self._could_not_spawn, None
        if kept is None and could_not_spawn is not None:
            self._take(could_not_spawn)
        else:
            self._take(on.Adopted(pid=pid, rebooted=kept is not None and kept.rebooted))
        if kept is not None:
            self._output.withhold()
            learning = learn_secrets(
                self._read_secrets,
                output=self._output,
                clock=self._ports.clock,
                rng=self._ports.rng,
            )
            self.pipe(learning, on_result=SecretsLearned)
        held, self._on_hold = self._on_hold, None
        for message in held or ():
            self._hear(message)

    async def _read_secrets(self) -> Masker:
        return (await self._hands.preparing.prepare(self._record)).masker

    def _secrets_learned(self, masker: Masker | None) -> None:
        if masker is None:
            self._output.log.warning("run.output_withheld", hint=WITHHELD)
        was_withheld = self._output.is_withheld
        for message in self._output.know(masker):
            self._hear(message)
        if was_withheld:
            self._take(on.TailKnown(tail=self._output.tail()))
