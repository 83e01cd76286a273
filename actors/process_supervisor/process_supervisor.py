"""Sees one flow run through, from the claim to the last word at the server."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from ..domain.errors import CouldNotStart, StateFolderError
from ..domain.log_once import Complaint
from ..domain.masking import Masker
from ..domain.memory import exceeds
from ..domain.ports import OomDetector
from ..domain.process import (
    KeptRun,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    ProcessIdentity,
    TreeEnded,
)
from ..domain.record import Phase, Reason, RunRecord
from ..messages.runs import (
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
from ..runtime import AsyncioActor, Timer
from .journaling import LATE_SECONDS, RecordKeeping, Step
from .machine import effects as do
from .machine import stimuli as on
from .machine.step import step
from .messages import (
    Again,
    Aside,
    Checked,
    Closed,
    Failed,
    Happened,
    ProcessStarted,
    Ready,
    Recall,
    Recalled,
    Said,
    SaveEnded,
    SaveIsLate,
    SecretsLearned,
    Told,
)
from .output import WITHHELD, RunOutput, learn_secrets
from .ports import SupervisorPorts
from .run_effects import RunEffects


class ProcessSupervisor(AsyncioActor):
    """Owns: _run, the state of one flow run from claim to the last report.

    The machine (``machine/step.py``) decides as soon as something happens. The hands carry it out
    once the record of the decision is saved, so no effect ever comes before its record, or before
    the effects of an earlier decision (see RecordKeeping).

    Temporary: never restarted. Whatever ends it, its record in the journal says how far it came,
    and a successor started by the Dispatcher resumes from there.
    """

    def __init__(self, start: SupervisorStart, ports: SupervisorPorts) -> None:
        super().__init__(clock=ports.clock)
        self._run = start.run
        self._adopted = start.adopted
        self._failure = start.failure
        self._ports = ports
        self._keeping = RecordKeeping()
        self._output = RunOutput(start.run.record, ports.journal)
        self._hands = RunEffects(self, ports, start, self._output)
        self._witness: OomDetector | None = None
        self._memory_limited: ProcessIdentity | None = None
        self._recalling = False
        self._held: list[ProcessFact | CancelRun | EndRun] = []
        self._settle_tried = self._may_leave = self._closing = False
        self._could_not_spawn: on.CouldNotSpawn | None = None
        self._late: Timer | None = None
        self._unsaved = Complaint()

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
                self._hear_what_was_held()
            case ProcessExited() | TreeEnded() | OutputWritten() | CancelRun() | EndRun():
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
                if (answered := self._hands.said(message, self._record)) is not None:
                    self._take(answered)
            case SaveEnded(error=error):
                if self._late is not None:
                    self._late.cancel()
                self._complain(error)
                self._proceed(self._keeping.save_ended(succeeded=error is None))
            case SaveIsLate(record=record):
                self._proceed(self._keeping.save_is_late(record))
            case Closed(error=error):
                self._complain(error)
                self._closed()
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
        if before.is_claiming and not self._run.is_claiming:
            self._ports.dispatcher.tell(ClaimAnswered(key=self._record.key))
        # one that is over is closed, once the keeper has forgotten it
        changed = self._record != before.record and not self._run.is_over
        begins = isinstance(stimulus, on.Begun | on.Adopted) and self._run.is_claiming
        is_news = changed or begins  # an adopted one may never have been recorded
        self._proceed(self._keeping.stepped(self._record, effects, is_news=is_news))
        if self._run.ends_unstarted and self._keeping.withdraw(do.Spawn):
            self._take(on.CouldNotSpawn(cause="It was to be ended before."))

    def _proceed(self, steps: list[Step]) -> None:
        """Carry out what is recorded, and save what is not."""
        for made in steps:
            for effect in made.effects:
                self._carry_out(effect, made.record)
        self._save()

    def _save(self) -> None:
        record = self._keeping.next_save()
        if record is not None:
            saving = self._ports.journal.save(record.for_keeping())
            self.pipe(saving, on_result=lambda _: SaveEnded(), on_error=SaveEnded)
            self._late = self.after(LATE_SECONDS, SaveIsLate(record))

    def _complain(self, error: Exception | None) -> None:
        """A journal that cannot be written is said once; anything else is a bug."""
        if error is None:
            return
        if not isinstance(error, StateFolderError):
            raise error
        if self._unsaved.raise_(str(error)):
            self._output.log.error("journal.failed", error=str(error))

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

    def _carry_out(self, effect: do.Effect, record: RunRecord) -> None:
        if isinstance(effect, do.Settle):
            self._settle(effect)
        elif isinstance(effect, do.Abandon):
            self._hands.carry_out(effect, self._record)
            self._leave(self._record.reason)
        else:
            self._hands.carry_out(effect, record)

    def _settle(self, effect: do.Settle) -> None:
        """First the keeper forgets, the journal last of all: whatever comes between is resumed.

        But what could not be written down stays with the keeper, or a successor that reads an
        old record would believe that the run was lost. So it is tried again first, as a run that
        has still to be settled.
        """
        if not self._settle_tried and not self._keeping.is_saved:
            self._settle_tried = True
            unsettled = replace(self._record, phase=Phase.REPORTING, report=None)
            self._proceed(self._keeping.stepped(unsettled, [effect], is_news=True))
            return
        self._may_leave = True
        if self._keeping.is_saved:
            self._hands.carry_out(effect, self._record)
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._may_leave and self._hands.are_idle and not self._closing:
            self._closing = True
            self.pipe(self._close(), on_result=lambda _: Closed(), on_error=Closed)

    async def _close(self) -> None:
        """What the keeper still has is not closed: nobody would look after it."""
        is_known = self._keeping.is_saved or self._record.reason is None
        if is_known and self._hands.keeper_is_done:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE_SECONDS):
                    await self._ports.journal.close(self._record.for_keeping())

    def _closed(self) -> None:
        reason = self._record.reason
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
        """Hold a message that comes too early.

        After a reboot nothing may be signalled, so all wait for what the keeper knows. The keeper
        may tell of a very short process before the order to spawn it is answered.
        """
        is_early = self._record.phase is Phase.SPAWNING and isinstance(message, ProcessFact)
        if self._recalling or is_early:
            self._held.append(message)
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
                killed = self._witness is not None and self._witness.oom_killed()
                self._take(
                    on.Exited(
                        status=status,
                        tail=self._output.placeholder,
                        kernel_kill=killed,
                        tail_follows=True,
                    )
                )
                if not self._output.is_withheld:
                    self._read_tail()
            case TreeEnded():
                self._take(message)
            case OutputWritten(lines=lines, dropped=dropped):
                if self._record.job is None or self._record.job.stream_output:
                    self._output.show(lines, dropped)

    def _attend(self, process: ProcessIdentity) -> None:
        if self._ports.resource_monitor is not None:
            self._witness = self._ports.resource_monitor.oom_detector(process.pid)
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
        self._recalling = True
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
        self._recalling = False
        self._hear_what_was_held()

    def _hear_what_was_held(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self._hear(message)

    async def _read_secrets(self) -> Masker:
        return (await self._hands.preparing.prepare(self._record)).masker

    def _secrets_learned(self, masker: Masker | None) -> None:
        if masker is None:
            self._output.log.warning("run.output_withheld", hint=WITHHELD)
        was_withheld = self._output.is_withheld
        for message in self._output.know(masker):
            self._hear(message)
        if was_withheld and self._record.exit is not None:
            self._read_tail()

    def _read_tail(self) -> None:
        """The machine has heard of the exit already, which waits for no disk."""
        self.pipe(self._output.tail(), lambda tail: Happened(on.TailKnown(tail=tail)))
