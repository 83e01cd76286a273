"""Carries out what the machine of a run has decided, again and again until it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar, assert_never

from ..domain.errors import NotFound
from ..domain.failures import FailureKind, bug_in_words, classify_failure
from ..domain.model import State, StateType, Wait
from ..domain.policy import seconds_until_start
from ..domain.process import ProcessFact
from ..domain.record import Phase, Reason, RunRecord
from ..job.prepared_job import PreparedJob
from ..messages.runs import EndRun, SlotFreed, SupervisorStart
from ..runtime import AsyncioActor
from .machine import effects as do
from .machine import stimuli as on
from .machine.failures import stimulus_of_failure
from .messages import (
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
    Told,
)
from .output import RunOutput
from .ports import SupervisorPorts
from .preparation import Preparing
from .publishing import RunTelling
from .reporting import REFUSALS, Proposals
from .retries import Retries

T = TypeVar("T")

FORGET_TRIES = 8
"""A keeper that is out of reach for longer leaves the rest to the next worker."""

END_ORDERED = "tree.end_ordered"

BUG_TRIES = 5
"""How often an end is reported, or a state read, despite a bug: it may depend on the moment."""


class RunEffects:
    """A part of ProcessSupervisor: its hands. Owns: which waits of one run are still open.

    A wait that fails is classified (``domain/failures.py``). What is passing is tried again. What
    is final, or a bug, the machine hears of, if it can go on; a bug with which it cannot ends the
    actor, and the Dispatcher lets a successor try. Neither stops a process that is at work.

    A wait ends as a message to ``actor``, which hands it back here in its turn.
    """

    def __init__(
        self,
        actor: AsyncioActor,
        ports: SupervisorPorts,
        start: SupervisorStart,
        output: RunOutput,
    ) -> None:
        run_id = start.run.record.run.id
        self.preparing = Preparing(ports, start.pool)
        self._actor = actor
        self._ports = ports
        self._run_id = run_id
        self._output = output
        self._told = RunTelling(ports, output, run_id)
        self._proposals = Proposals(run_id, ports.orchestrator, ports.clock, start.listed_at)
        self._preparation: PreparedJob | None = None
        self._asides = 0
        self._retries = Retries(ports.clock, ports.rng)
        self.keeper_is_done = True
        """Whether the keeper knows all of the run's end; else the record is left open."""

    @property
    def are_idle(self) -> bool:
        """Whether nothing is open that the supervisor should wait for before it ends."""
        return self._asides == 0

    def carry_out(self, effect: do.Effect, record: RunRecord) -> None:
        """Begin what the machine has decided; ``record`` is the run's after that decision."""
        ports = self._ports
        match effect:
            case do.AskKeeper():
                self.recall(record)
            case do.Propose(delay_seconds=seconds) if seconds > 0:
                self._proposals.plan(effect)
                self._actor.after(seconds, Again(effect))
            case do.Propose():
                self._propose(effect)
            case do.PrepareJob():
                self._wait(effect, self.preparing.prepare(record), Ready)
            case do.WaitUntilDue(seconds=seconds):
                self._actor.after(seconds, Happened(on.Due()))
            case do.Spawn():
                self._spawn(effect)
            case do.TellPid(pid=pid):
                where = f"{ports.hostname}:{pid}"
                telling = ports.orchestrator.set_infrastructure_pid(self._run_id, where)
                self._wait(effect, telling, lambda _: Told("pid"))
            case do.AddLabels():
                if self.preparing.pool is not None:
                    labels = ports.labels(self.preparing.pool)
                    self._aside("labels", ports.orchestrator.add_labels(self._run_id, labels))
            case do.EndTree():
                self._asides += _is_awaited(record)
                self._end_tree(effect, record)
            case do.StartTimeout(seconds=seconds):
                self._actor.after(seconds, EndRun(reason=Reason.TIMED_OUT))
            case do.Emit(kind=kind):
                self._told.emit(kind, record)
            case do.Remark():
                self._told.remark(effect)
            case do.CheckState():
                self._asides += 1
                self._check_state(effect)
            case do.ReadHistory():
                reading = ports.orchestrator.read_history(self._run_id)
                self._wait(effect, reading, _as_history)
            case do.FreeSlot():
                ports.dispatcher.tell(SlotFreed(key=record.key))
            case do.Settle():
                self._asides += 1
                self._forget(effect, record)
            case do.Abandon(cause=cause):
                hint = "Its record is kept, and the next worker tries again."
                self._output.log.error("run.abandoned", cause=cause, hint=hint)
            case _:
                assert_never(effect)

    def recall(self, record: RunRecord) -> None:
        """Ask the keeper what it knows of the run, and have it tell what happens from now on."""
        watching = self._ports.launcher.watch(record.key, self._listen)
        self._wait(Recall(), watching, Recalled)

    def repeat(self, effect: do.Effect, record: RunRecord) -> None:
        """Another try of what has failed, unless the run has gone on since."""
        match effect:
            case do.Propose():
                if self._proposals.is_wanted_again(effect):
                    self._propose(effect)
            case do.EndTree() if record.exit is None:
                self._end_tree(effect, record)
            case do.EndTree() | do.TellPid() if record.phase is not Phase.RUNNING:
                return
            case do.Settle():
                self._forget(effect, record)
            case do.CheckState():
                self._check_state(effect)
            case _:
                self.carry_out(effect, record)

    # -- the ends of waits -----------------------------------------------------------------------

    def ready(self, preparation: PreparedJob, record: RunRecord) -> on.Stimulus:
        """The job is prepared."""
        self._preparation = preparation
        note = preparation.summary
        due_in = seconds_until_start(
            record.run.due,
            self._ports.clock.now(),
            may_start_early=note.is_engine or note.uses_runner,
        )
        return on.Prepared(job=note, related=preparation.related, due_in=due_in)

    def said(self, said: Said, record: RunRecord) -> on.Stimulus | None:
        """The server has answered a proposal.

        None: it will be told again, with the end of the output, which is not in the run's log yet.
        """
        proposal, verdict = said.effect.proposal, said.verdict
        state = None if isinstance(verdict, Wait) else verdict.state
        is_set = state is not None and state.transition_id == proposal.transition_id
        could_not_log = is_set and record.exit is not None and not _could_log(said, record)
        if could_not_log and said.tail is None:
            self._actor.pipe(self._output.tail(), lambda tail: replace(said, tail=tail))
            return None
        self._landed(said.effect)
        self._told.ship(said.tail or ())
        return on.Answered(proposal=proposal, verdict=verdict)

    def checked(self, state: State | None) -> on.Stimulus:
        """The server has said how it holds the run; None: it does not know it."""
        self.aside_over("state.checked", None)
        return on.StateSeen(state=state)

    def failed(
        self, effect: do.Effect | Recall, error: Exception, record: RunRecord
    ) -> on.Stimulus | None:
        """A wait has failed: what the machine must hear of that. Raises what ends the actor."""
        kind = classify_failure(error)
        failures = self._retries.failed(effect, kind)
        if kind is FailureKind.BUG:
            self._output.log_bug(type(effect).__name__, error)
        if isinstance(effect, do.Propose):
            return self._proposal_failed(effect, error, record, failures)
        may_pass = kind is FailureKind.PASSING
        if isinstance(effect, do.Settle):
            may_pass = may_pass and failures <= FORGET_TRIES
        elif isinstance(effect, do.CheckState | do.ReadHistory):
            may_pass = may_pass or failures <= _tries_of_a_read(error)
        if may_pass:
            self._try_later(effect, error)
            return None
        match effect:
            case do.Settle():
                self.keeper_is_done = False
                self.aside_over("keeper.forgot", error)
            case do.TellPid():
                self._output.log.warning("aside.failed", what="pid.told", error=str(error))
            case do.EndTree() if _is_awaited(record):
                self.keeper_is_done = False
                self.aside_over(END_ORDERED, error)
            case do.EndTree() if record.exit is not None:
                pass
            case do.EndTree() | Recall():
                raise error
            case do.CheckState():
                self._asides -= 1
        if isinstance(effect, Recall):
            return None
        return stimulus_of_failure(effect, error, self._cause(error))

    def _proposal_failed(
        self, effect: do.Propose, error: Exception, record: RunRecord, failures: int
    ) -> on.Stimulus | None:
        """A refusal may be a proxy's word and not the server's; an end is worth some tries."""
        self._landed(effect)
        proposal, is_bug = effect.proposal, classify_failure(error) is FailureKind.BUG
        if self._proposals.is_refused_for_good(proposal, error):
            return on.Unanswerable(proposal=proposal, cause=str(error))
        is_end = record.phase is Phase.REPORTING
        if is_bug and not (is_end and failures < BUG_TRIES):
            return on.ProposalFailed(proposal=proposal, cause=self._cause(error))
        self._try_later(effect, error)
        return None

    def _cause(self, error: Exception) -> str:
        """The error in words that may be shown."""
        is_bug = classify_failure(error) is FailureKind.BUG
        return bug_in_words(error) if is_bug else self._output.mask(str(error))

    def aside_over(self, what: str, error: Exception | None) -> None:
        """A wait that the run does not depend on is over."""
        self._asides -= 1
        if error is None:
            return
        if classify_failure(error) is FailureKind.BUG:
            self._output.log_bug(what, error)
        else:
            self._output.log.warning("aside.failed", what=what, error=str(error))

    # -- single effects --------------------------------------------------------------------------

    def _propose(self, effect: do.Propose) -> None:
        if self._proposals.want(effect):
            self._wait(effect, self._proposals.say(effect), lambda said: said)

    def _landed(self, effect: do.Propose) -> None:
        later = self._proposals.landed(effect)
        if later is not None:
            self._propose(later)

    def _spawn(self, effect: do.Spawn) -> None:
        assert self._preparation is not None, "Spawn follows Prepared"
        spawning = self._ports.launcher.spawn(self._preparation.order, self._listen)
        self._wait(effect, spawning, ProcessStarted)

    def _listen(self, fact: ProcessFact) -> None:
        self._actor.actor_ref.tell_if_alive(fact)

    def _end_tree(self, effect: do.EndTree, record: RunRecord) -> None:
        ending = self._ports.launcher.end_tree(
            record.key,
            signal=effect.signal,
            grace_seconds=effect.grace_seconds,
            announce_cancel=effect.announce_cancel,
        )
        over = Aside(END_ORDERED) if _is_awaited(record) else Told(END_ORDERED)
        self._wait(effect, ending, lambda _: over)

    def _forget(self, effect: do.Settle, record: RunRecord) -> None:
        forgetting = self._ports.launcher.forget(record.key)
        self._wait(effect, forgetting, lambda _: Aside("keeper.forgot"))

    def _check_state(self, effect: do.CheckState) -> None:
        reading = self._ports.orchestrator.read_flow_run(self._run_id)
        self._wait(effect, reading, lambda run: Checked(run.state))

    # -- waits -----------------------------------------------------------------------------------

    def _wait(
        self,
        effect: do.Effect | Recall,
        wait: Awaitable[T],
        on_result: Callable[[T], object],
    ) -> None:
        def succeeded(result: T) -> object:
            self._retries.succeeded(effect, self._output.log)
            return on_result(result)

        self._actor.pipe(wait, on_result=succeeded, on_error=lambda error: Failed(effect, error))

    def _try_later(self, effect: do.Effect | Recall, error: Exception) -> None:
        seconds = self._retries.delay(effect, error, self._output.log)
        self._actor.after(seconds, Again(effect))

    def _aside(self, what: str, wait: Awaitable[object]) -> None:
        self._asides += 1
        self._actor.pipe(
            wait,
            on_result=lambda _: Aside(what),
            on_error=lambda error: Aside(what, error),
        )


def _is_awaited(record: RunRecord) -> bool:
    """Whether the supervisor must not leave before the keeper has taken the order to end the run.

    That is so when no exit is waited for, because the worker has failed.
    """
    return record.phase is not Phase.RUNNING and record.exit is None


def _as_history(states: list[State]) -> Happened:
    return Happened(on.HistorySeen(states=tuple(states)))


def _tries_of_a_read(error: Exception) -> int:
    """How often a read is tried again after an error that is not passing.

    A refusal may be a proxy's word and not the server's; whether our late claim has overwritten an
    end depends on the answer.
    """
    if classify_failure(error) is FailureKind.BUG:
        return BUG_TRIES - 1
    return 0 if isinstance(error, NotFound) else REFUSALS


def _could_log(said: Said, record: RunRecord) -> bool:
    """Whether the run had come to write into its log in the API by itself when it ended.

    Engines do from when they are Running on, other commands never; what ended well said enough.
    """
    if said.effect.proposal.type not in (StateType.CRASHED, StateType.FAILED):
        return True
    job = record.job
    by_itself = job is None or job.is_engine or job.uses_runner
    return by_itself and said.before is not StateType.PENDING
