"""Sees one flow run through, from its claim to its last report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..domain.errors import CouldNotStart
from ..domain.ids import ClaimKey
from ..domain.masking import Masker
from ..domain.process import (
    KeptRun,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    ProcessIdentity,
    TreeEnded,
)
from ..domain.record import Phase, Reason, RunRecord
from ..domain.run import CancelRun, EndRun
from ..job.job import PreparedJob
from ..messages.dispatcher import RunInfo, RunSettled
from ..messages.process_supervisor import (
    CurrentRun,
    GiveBack,
    MemoryUsed,
    SupervisorStart,
)
from ..runtime import AsyncioActor
from . import messages
from .effect_handler import EffectHandler
from .journaling import Recorder, RecordKeeping, Step
from .machine import effects, stimuli
from .machine.step import step
from .output import RunOutput
from .ports import SupervisorPorts


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorView:
    """What a supervisor shows of its run."""

    key: ClaimKey
    phase: Phase
    reason: Reason | None
    pid: int | None
    holds_slot: bool
    """Until the Dispatcher has been told that the slot is free."""


class ProcessSupervisor(AsyncioActor):
    """Owns: _run, the state of one flow run from claim to the last report.

    The machine decides as soon as something happens. Effects are carried out once the record of
    the decision is saved, in the order of the decisions (see RecordKeeping).

    Temporary: never restarted. Its record in the journal tells how far it came, and a successor
    that the Dispatcher starts resumes from there.
    """

    def __init__(self, start: SupervisorStart, ports: SupervisorPorts) -> None:
        super().__init__()
        self._run = start.run
        self._start = start
        self._ports = ports
        self._keeping = RecordKeeping()
        self._output = RunOutput(start.run.record, ports.journal)
        self._recorder = Recorder(self, self._keeping, ports.journal, self._output)
        self._effects = EffectHandler(self, ports, start, self._output)
        self._oom_killed: Callable[[], bool] | None = None
        self._memory_limited: ProcessIdentity | None = None
        self._asking_keeper = False
        self._early: list[ProcessFact | CancelRun | EndRun] = []
        self._settle_tried = self._may_leave = self._closing = False
        self._could_not_spawn: stimuli.CouldNotSpawn | None = None

    @property
    def _record(self) -> RunRecord:
        return self._run.record

    def inspect(self) -> SupervisorView:
        return SupervisorView(
            key=self._record.key,
            phase=self._record.phase,
            reason=self._record.reason,
            pid=self._record.pid,
            holds_slot=self._info.holds_slot,
        )

    # -- messages ------------------------------------------------------------------------

    def on_start(self) -> None:
        """A new run is claimed; of an adopted one the keeper is asked first.

        When supervisor after supervisor has failed the run is ended without asking.
        """
        if self._start.failure is not None:
            self._take(stimuli.WorkerFailed(cause=self._start.failure))
        elif self._start.adopted:
            self._ask_keeper()
        else:
            self._take(stimuli.Begun())

    def on_receive(self, message: object) -> RunInfo | bool | None:
        """Pass stimuli to the machine; note first what the machine need not know."""
        match message:
            case ProcessExited() | TreeEnded() | OutputWritten() if (
                message.key != self._record.key
            ):
                self._hooks_told(message)
            case ProcessExited() | TreeEnded() | OutputWritten() | CancelRun() | EndRun():
                self._hear(message)
            case messages.ProposalAnswered():
                self._take(self._effects.proposal_answered(message, self._record))
            case PreparedJob():
                self._secrets_learned(message.masker)
                self._take(self._effects.job_prepared(message, self._record))
            case ProcessIdentity():
                self._watch_memory(message)
                self._take(stimuli.Spawned(pid=message.pid))
                self._hear_early_messages()
            case messages.KeeperAnswered(kept=kept):
                self._keeper_answered(kept)
            case messages.SecretsLearned(masker=masker):
                self._secrets_learned(masker)
            case MemoryUsed(used_bytes=used):
                self._memory_used(used)
            case GiveBack():
                gives_back = self._run.is_unstarted
                self._take(stimuli.GiveBackWanted())
                return gives_back
            case CurrentRun():
                return self._info
            case messages.EffectDone(effect=effect):
                self._effects.done(effect)
                self._leave_if_done()
            case messages.EffectFailed(effect=effect, error=error):
                self._effect_failed(effect, error)
            case messages.Retry(effect=effect):
                self._retry(effect)
            case messages.SaveEnded() | messages.SaveIsLate():
                self._proceed(self._recorder.saved(message))
            case messages.Closed(error=error):
                self._recorder.log_failure(error)
                self._output.log.info("run.settled", reason=self._record.reason)
                self._leave()
            case _ if isinstance(message, stimuli.Stimulus):
                self._take(message)
            case _:
                super().on_receive(message)
        return None

    def _take(self, stimulus: stimuli.Stimulus) -> None:
        before = self._run
        self._run, decided = step(before, stimulus, now=self._ports.clock.now())
        self._output.identify(self._record)
        # the record of a run that is over is closed, once the keeper has forgotten the run
        changed = self._record != before.record and not self._run.is_over
        begins = isinstance(stimulus, stimuli.Begun | stimuli.Adopted) and self._run.is_claiming
        is_news = changed or begins  # an adopted one may never have been recorded
        self._proceed(self._keeping.stepped(self._record, decided, is_news=is_news))
        if before.is_claiming and not self._run.is_claiming:
            self._tell_change()
        if self._run.ends_unstarted and self._keeping.withdraw(effects.Spawn):
            self._take(stimuli.CouldNotSpawn(cause="It was to be ended before."))

    def _tell_change(self) -> None:
        self._ports.peers.dispatcher.tell(self._info)

    @property
    def _info(self) -> RunInfo:
        """The run as it is for others: it holds a slot until the record of its end is saved."""
        frees_slot = any(isinstance(effect, effects.FreeSlot) for effect in self._keeping.held)
        run = replace(self._run, holds_slot=self._run.holds_slot or frees_slot)
        return RunInfo.of(run, memory_limited=self._memory_limited)

    # -- records and effects -------------------------------------------------------------

    def _proceed(self, steps: list[Step]) -> None:
        """Carry out what is recorded, and save what is not."""
        for decided in steps:
            for effect in decided.effects:
                self._carry_out(effect, decided.record)
        self._recorder.save_next()

    def _carry_out(self, effect: effects.Effect, record: RunRecord) -> None:
        match effect:
            case effects.Settle():
                self._settle(effect)
            case effects.FreeSlot():
                self._tell_change()
            case effects.Abandon():
                self._effects.carry_out(effect, record)
                self._leave()
            case _:
                self._effects.carry_out(effect, record)

    def _effect_failed(self, effect: effects.Request, error: Exception) -> None:
        stimulus = self._effects.failed(effect, error, self._record)
        if isinstance(stimulus, stimuli.CouldNotSpawn) and not isinstance(error, CouldNotStart):
            self._could_not_spawn = stimulus  # unless the keeper has started something
            self._retry(effect)
        elif stimulus is not None:
            self._take(stimulus)
        self._leave_if_done()

    def _retry(self, effect: effects.Request) -> None:
        """Ask the keeper whether it has carried out an order to spawn that it did not answer.

        The run may be wanted otherwise by now.
        """
        match effect:
            case effects.AskKeeper():
                self._ask_keeper()
            case effects.Spawn():
                if self._record.phase is Phase.SPAWNING:
                    self._ask_keeper()
            case _:
                self._effects.retry(effect, self._record)

    # -- the end -------------------------------------------------------------------------

    def _settle(self, effect: effects.Settle) -> None:
        """Let the keeper forget the run, then close the record: a crash in between is resumed.

        But a run whose record could not be saved stays with the keeper, or a successor that reads
        an old record would believe that the run was lost, or that its hooks have yet to run. So
        that is tried once more first, with the record of a run that has yet to be settled.
        """
        is_news = not self._keeping.is_saved or self._record.hooks is not None
        if not self._settle_tried and is_news:
            self._settle_tried = True
            unsettled = replace(self._record, phase=Phase.REPORTING, report=None)
            self._proceed(self._keeping.stepped(unsettled, [effect], is_news=True))
            return
        self._may_leave = True
        if self._keeping.is_saved:
            self._effects.carry_out(effect, self._record)
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._may_leave and self._effects.is_idle and not self._closing:
            self._closing = True
            self._recorder.close(self._record, keeper_is_done=self._effects.keeper_is_done)

    def _leave(self) -> None:
        settled = RunSettled(key=self._record.key, reason=self._record.reason)
        self._ports.peers.dispatcher.tell(settled)
        self._output.drop_held()
        self.stop()

    # -- the process ---------------------------------------------------------------------

    def _hear(self, message: ProcessFact | CancelRun | EndRun) -> None:
        """Keep messages that come too early.

        After a reboot nothing may be signalled, so all wait until the keeper has answered. The
        keeper may tell of a very short process before it answers the order to spawn it.
        """
        is_early = self._record.phase is Phase.SPAWNING and isinstance(message, ProcessFact)
        if self._asking_keeper or is_early:
            self._early.append(message)
            return
        match message:
            case CancelRun() | EndRun() | TreeEnded():
                self._take(message)
            case ProcessExited():
                self._exited(message)
            case OutputWritten():
                self._output.show(message, self._record)

    def _hear_early_messages(self) -> None:
        early, self._early = self._early, []
        for message in early:
            self._hear(message)

    def _exited(self, fact: ProcessExited) -> None:
        """Tell the machine at once, which waits for no disk; the last lines follow."""
        self._output.log.info("run.exited", code=fact.status.code)
        killed = self._oom_killed is not None and self._oom_killed()
        self._take(
            stimuli.Exited(
                status=fact.status,
                tail=self._output.placeholder,
                kernel_kill=killed,
                tail_follows=True,
            )
        )
        if not self._output.is_withheld:
            self._read_tail()

    def _read_tail(self) -> None:
        self.pipe(self._output.tail(), lambda tail: stimuli.TailKnown(tail=tail))

    def _hooks_told(self, fact: ProcessFact) -> None:
        """What the hooks print is shown as the run's output is."""
        match fact:
            case OutputWritten():
                self._output.show(fact, self._record)
            case ProcessExited(status=status):
                self._take(stimuli.HooksEnded(status=status))

    def _watch_memory(self, process: ProcessIdentity) -> None:
        if self._ports.resource_monitor is not None:
            self._oom_killed = self._ports.resource_monitor.oom_detector(process.pid)
        if self._record.limits.memory_limit_mb is not None:
            self._memory_limited = process
            self._tell_change()

    def _memory_used(self, used_bytes: int) -> None:
        limits = self._record.limits
        if self._record.reason is None and limits.exceeds_memory(used_bytes):
            limit_mb = limits.memory_limit_mb
            self._output.log.warning("run.memory_limit", used_bytes=used_bytes, limit_mb=limit_mb)
            self._hear(EndRun(reason=Reason.OUT_OF_MEMORY_LIMIT))

    # -- after a crash of the worker -----------------------------------------------------

    def _ask_keeper(self) -> None:
        self._asking_keeper = True
        self._effects.carry_out(effects.AskKeeper(), self._record)

    def _keeper_answered(self, kept: KeptRun | None) -> None:
        pid = None if kept is None else kept.identity.pid
        if kept is not None and kept.exit is None:
            self._watch_memory(kept.identity)
        self._output.log.info("run.adopted", phase=self._record.phase, pid=pid)
        could_not_spawn, self._could_not_spawn = self._could_not_spawn, None
        if kept is None and could_not_spawn is not None:
            self._take(could_not_spawn)
        else:
            self._take(stimuli.Adopted(pid=pid, rebooted=kept is not None and kept.rebooted))
        if kept is not None:
            self._output.withhold()
            self._effects.carry_out(effects.LearnSecrets(), self._record)
        self._asking_keeper = False
        self._hear_early_messages()

    def _secrets_learned(self, masker: Masker | None) -> None:
        was_withheld = self._output.is_withheld
        self._output.know(masker, self._record)
        if was_withheld and self._record.exit is not None:
            self._read_tail()
