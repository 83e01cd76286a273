"""Carries out what the machine of a run decides, and tries again what fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, assert_never

from ..domain.errors import FailureKind, bug_in_words, classify_failure
from ..domain.policy import seconds_until_start
from ..domain.process import ProcessFact
from ..domain.record import Phase, Reason, RunRecord
from ..job.prepared_job import PreparedJob
from ..messages.dispatcher import SlotFreed
from ..messages.process_supervisor import EndRun, SupervisorStart
from ..runtime import AsyncioActor
from .machine import effects as do
from .machine import stimuli as on
from .machine.failures import stimulus_of_failure
from .messages import (
    EffectDone,
    EffectFailed,
    JobPrepared,
    KeeperAnswered,
    ProcessStarted,
    ProposalAnswered,
    Retry,
)
from .output import RunOutput
from .ports import SupervisorPorts
from .preparation import Preparation
from .publishing import Publisher
from .reporting import Proposals
from .retries import Retries, tries

T = TypeVar("T")

NAMES: Final[dict[type[do.Effect], str]] = {
    do.AddLabels: "labels",
    do.EndTree: "tree.end_ordered",
    do.Settle: "keeper.forgot",
    do.TellPid: "pid.told",
}
"""Names in the log of the effects that return nothing to the machine."""


class EffectHandler:
    """A part of ProcessSupervisor, owns: _unfinished, the effects that it must not leave behind.

    The result of a wait comes to ``actor`` as a message, a failure as ``EffectFailed``. A failure
    that may pass is tried again; the machine is told of any other. If the machine cannot go on
    with it, the failure ends the actor, and the Dispatcher starts a new supervisor. The run's
    process goes on in each case.
    """

    def __init__(
        self,
        actor: AsyncioActor,
        ports: SupervisorPorts,
        start: SupervisorStart,
        output: RunOutput,
    ) -> None:
        self._actor = actor
        self._ports = ports
        self._output = output
        self._run_id = start.run.record.run.id
        self.preparation = Preparation(ports, start.pool)
        self._publisher = Publisher(ports, output, self._run_id)
        self._proposals = Proposals(
            self._run_id, ports.orchestrator, ports.clock, output, start.listed_at
        )
        self._retries = Retries(ports.clock, ports.rng)
        self._job: PreparedJob | None = None
        self._unfinished: list[do.Effect] = []
        self.keeper_is_done = True
        """False once an order to the keeper has failed for good: then the record is left open."""

    @property
    def is_idle(self) -> bool:
        """Whether the supervisor may leave."""
        return not self._unfinished

    def carry_out(self, effect: do.Effect, record: RunRecord) -> None:
        """Begin what the machine has decided; ``record`` is the run's after that decision."""
        if _must_finish(effect, record):
            self._unfinished.append(effect)
        match effect:
            case do.Propose(delay_seconds=seconds):
                self._proposals.add(effect)
                if seconds > 0:
                    self._actor.after(seconds, Retry(effect))
                else:
                    self._request(effect, record)
            case do.WaitUntilDue(seconds=seconds):
                self._actor.after(seconds, on.Due())
            case do.StartTimeout(seconds=seconds):
                self._actor.after(seconds, EndRun(reason=Reason.TIMED_OUT))
            case do.Emit(kind=kind):
                self._publisher.emit(kind, record)
            case do.Remark():
                self._publisher.remark(effect)
            case do.FreeSlot():
                self._ports.peers.dispatcher.tell(SlotFreed(key=record.key))
            case do.Abandon(cause=cause):
                hint = "Its record is kept, and the next worker tries again."
                self._output.log.error("run.abandoned", cause=cause, hint=hint)
            case _:
                self._request(effect, record)

    def retry(self, effect: do.Request, record: RunRecord) -> None:
        """Try again what has failed or had to wait, unless the run has gone on since."""
        match effect:
            case do.EndTree() if record.exit is not None:
                self._finish(effect)
            case do.TellPid() if record.phase is not Phase.RUNNING:
                pass
            case _:
                self._request(effect, record)

    # -- requests to the keeper and the server -------------------------------------------

    def _request(self, effect: do.Request, record: RunRecord) -> None:
        server, keeper, run_id = self._ports.orchestrator, self._ports.launcher, self._run_id
        match effect:
            case do.Propose():
                self._propose(effect, record)
            case do.AskKeeper():
                self._wait(effect, keeper.watch(record.key, self._listen), KeeperAnswered)
            case do.PrepareJob():
                self._wait(effect, self.preparation.prepare_job(record), JobPrepared)
            case do.Spawn():
                assert self._job is not None, "Spawn follows Prepared"
                self._wait(effect, keeper.spawn(self._job.order, self._listen), ProcessStarted)
            case do.TellPid(pid=pid):
                place = f"{self._ports.hostname}:{pid}"
                self._wait(effect, server.set_infrastructure_pid(run_id, place))
            case do.AddLabels():
                if (pool := self.preparation.pool) is None:
                    self._finish(effect)
                else:
                    self._wait(effect, server.add_labels(run_id, self._ports.labels(pool)))
            case do.EndTree():
                ending = keeper.end_tree(
                    record.key,
                    signal=effect.signal,
                    grace_seconds=effect.grace_seconds,
                    announce_cancel=effect.announce_cancel,
                )
                self._wait(effect, ending)
            case do.CheckState():
                reading = server.read_flow_run(run_id)
                self._wait(effect, reading, lambda run: on.StateSeen(state=run.state))
            case do.ReadHistory():
                reading_all = server.read_history(run_id)
                self._wait(
                    effect, reading_all, lambda states: on.HistorySeen(states=tuple(states))
                )
            case do.Settle():
                self._wait(effect, keeper.forget(record.key))
            case _:
                assert_never(effect)

    def _propose(self, effect: do.Propose, record: RunRecord) -> None:
        if self._proposals.begin(effect):
            self._wait(effect, self._proposals.send(effect, record), lambda answered: answered)

    def _listen(self, fact: ProcessFact) -> None:
        self._actor.actor_ref.tell_if_alive(fact)

    def _wait(
        self,
        effect: do.Request,
        wait: Awaitable[T],
        on_result: Callable[[T], object] | None = None,
    ) -> None:
        def succeeded(result: T) -> object:
            self._retries.succeeded(effect, self._output.log)
            return EffectDone(effect) if on_result is None else on_result(result)

        self._actor.pipe(wait, succeeded, lambda error: EffectFailed(effect, error))

    # -- results -------------------------------------------------------------------------

    def job_prepared(self, job: PreparedJob, record: RunRecord) -> on.Prepared:
        """Keep the order for the keeper; engines and runners wait by themselves until due."""
        self._job = job
        due_in = seconds_until_start(
            record.run.due,
            self._ports.clock.now(),
            may_start_early=job.summary.is_engine or job.summary.uses_runner,
        )
        return on.Prepared(job=job.summary, related=job.related, due_in=due_in)

    def proposal_answered(self, answered: ProposalAnswered, record: RunRecord) -> on.Answered:
        """Make room for the next proposal."""
        self._proposal_ended(record)
        self._publisher.ship(answered.tail)
        return on.Answered(proposal=answered.effect.proposal, verdict=answered.verdict)

    def _proposal_ended(self, record: RunRecord, error: Exception | None = None) -> None:
        newer = self._proposals.end(error)
        if newer is not None:
            self._propose(newer, record)

    def done(self, effect: do.Request) -> None:
        """Note that nothing is left to do for ``effect``."""
        self._output.log.debug("told", what=NAMES[type(effect)])
        self._finish(effect)

    def failed(
        self, effect: do.Request, error: Exception, record: RunRecord
    ) -> on.Stimulus | None:
        """Try again, or return what the machine is told. Raises what ends the actor."""
        is_bug = classify_failure(error) is FailureKind.BUG
        failures = self._retries.count(effect, error)
        if is_bug:
            self._output.log_bug(type(effect).__name__, error)
        if isinstance(effect, do.Propose):
            self._proposal_ended(record, error)
        if failures <= tries(effect, error, record):
            delay = self._retries.delay(effect, error, self._output.log)
            self._actor.after(delay, Retry(effect))
            return None
        was_unfinished = effect in self._unfinished
        self._finish(effect)
        match effect:
            case do.Settle() | do.EndTree() if was_unfinished:
                self.keeper_is_done = False
            case do.AskKeeper():
                raise error
            case do.EndTree() if record.exit is None:
                raise error
        if not is_bug and (was_unfinished or isinstance(effect, do.TellPid)):
            what = NAMES[type(effect)]
            self._output.log.warning("aside.failed", what=what, error=str(error))
        cause = bug_in_words(error) if is_bug else self._output.mask(str(error))
        return stimulus_of_failure(effect, error, cause)

    def _finish(self, effect: do.Effect) -> None:
        if effect in self._unfinished:
            self._unfinished.remove(effect)


def _must_finish(effect: do.Effect, record: RunRecord) -> bool:
    """Whether the supervisor waits for the effect before it leaves.

    While the process runs it waits for the exit anyway, so it need not wait for EndTree.
    """
    if isinstance(effect, do.EndTree):
        return record.phase is not Phase.RUNNING and record.exit is None
    return isinstance(effect, do.AddLabels | do.Settle)
