"""Carries out what the machine of a run decides, and tries again what fails."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar, assert_never

from ..domain.errors import FailureKind, bug_in_words, classify_failure
from ..domain.model import LogLine
from ..domain.process import ProcessFact
from ..domain.record import Phase, Reason, RunRecord
from ..domain.run import EndRun
from ..domain.worker_events import run_event
from ..job.job import PreparedJob
from ..messages.process_supervisor import SupervisorStart
from ..runtime import AsyncioActor
from . import messages
from .hooks import HookRunner
from .machine import effects, stimuli
from .machine.proposals import is_submitting
from .output import RunOutput
from .ports import SupervisorPorts
from .preparation import Preparation
from .reporting import Proposals
from .retries import Retries, stimulus_of_failure

T = TypeVar("T")


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
        self._adopted = start.adopted
        self.preparation = Preparation(ports, start.pool)
        self._proposals = Proposals(
            self._run_id, ports.orchestrator, ports.clock, output, start.asked_at
        )
        self._hooks = HookRunner(ports, self.preparation)
        self._retries = Retries(ports.clock, ports.rng)
        self._job: PreparedJob | None = None
        self._unfinished: list[effects.Effect] = []
        self.keeper_is_done = True
        """False once an order to the keeper has failed for good: then the record is left open."""

    @property
    def is_idle(self) -> bool:
        return not self._unfinished

    def carry_out(self, effect: effects.Request | effects.Local, record: RunRecord) -> None:
        """Begin what the machine has decided; ``record`` is the run's after that decision."""
        if _must_finish(effect, record):
            self._unfinished.append(effect)
        match effect:
            case effects.Propose(delay_seconds=seconds):
                self._proposals.add(effect)
                if seconds > 0:
                    self._actor.after(seconds, messages.Retry(effect))
                else:
                    self._request(effect, record)
            case effects.WaitUntilDue(seconds=seconds):
                self._actor.after(seconds, stimuli.Due())
            case effects.StartHooksTimeout(seconds=seconds):
                self._actor.after(seconds, stimuli.HooksTimedOut())
            case effects.StartTimeout(seconds=seconds):
                self._actor.after(seconds, EndRun(reason=Reason.TIMED_OUT))
            case effects.Emit() | effects.Remark():
                self._publish(effect, record)
            case effects.Introduce():
                who, host = record.worker, self._ports.hostname
                text = f"Worker {who!r} submitting flow run {self._run_id!r} on host {host!r}."
                self._publish(effects.Remark(level=logging.INFO, text=text), record)
            case effects.Abandon(cause=cause):
                hint = "Its record is kept, and the next worker tries again."
                self._output.log.error("run.abandoned", cause=cause, hint=hint)
            case _:
                self._request(effect, record)

    def retry(self, effect: effects.Request, record: RunRecord) -> None:
        """Try again what has failed or had to wait, unless the run has gone on since."""
        match effect:
            case effects.EndTree() if record.exit is not None:
                self.done(effect)
            case effects.RunHooks() | effects.EndHooks() if not record.awaits_hooks:
                pass
            case effects.TellPid() if record.phase is not Phase.RUNNING:
                pass
            case _:
                self._request(effect, record)

    def _publish(self, effect: effects.Emit | effects.Remark, record: RunRecord) -> None:
        """A bug here costs what was to be published and a line in our log, never the run."""
        try:
            if isinstance(effect, effects.Emit):
                event = run_event(
                    effect.kind,
                    record,
                    worker=self._ports.resource,
                    hostname=self._ports.hostname,
                    occurred=self._ports.clock.now(),
                )
                self._ports.peers.event_emitter.tell(event)
            else:
                text = self._output.mask(effect.text)
                self._output.log.log(effect.level, "run.remark", text=text)
                if not effect.local:
                    self._ship(text, effect.level)
        except Exception as error:
            self._output.log_bug(type(effect).__name__, error)

    def _ship(self, text: str, level: int = logging.INFO) -> None:
        """Write a line into the run's log in the API."""
        now = self._ports.clock.now()
        line = LogLine(flow_run_id=self._run_id, level=level, message=text, timestamp=now)
        self._ports.peers.log_shipper.tell(line)

    # -- requests to the keeper and the server -------------------------------------------

    def _request(self, effect: effects.Request, record: RunRecord) -> None:
        server, keeper, run_id = self._ports.orchestrator, self._ports.launcher, self._run_id
        match effect:
            case effects.Propose():
                self._propose(effect, record)
            case effects.AskKeeper():
                self._wait(effect, keeper.watch(record.key, self._listen), messages.KeeperAnswered)
            case effects.PrepareJob():
                self._wait(effect, self.preparation.prepare_job(record), _itself)
            case effects.LearnSecrets():
                preparing = self.preparation.prepare_job(record)
                self._wait(effect, preparing, lambda job: messages.SecretsLearned(job.masker))
            case effects.Spawn():
                assert self._job is not None, "Spawn follows Prepared"
                self._wait(effect, keeper.spawn(self._job.order, self._listen), _itself)
            case effects.TellPid(pid=pid):
                place = f"{self._ports.hostname}:{pid}"
                self._wait(effect, server.set_infrastructure_pid(run_id, place))
            case effects.AddLabels():
                if (pool := self.preparation.pool) is None:
                    self.done(effect)
                else:
                    self._wait(effect, server.add_labels(run_id, self._ports.labels(pool)))
            case effects.EndTree():
                ending = keeper.end_tree(
                    record.key,
                    signal=effect.signal,
                    grace_seconds=effect.grace_seconds,
                    announce_cancel=effect.announce_cancel,
                )
                self._wait(effect, ending)
            case effects.CheckState():
                reading = server.read_flow_run(run_id)
                self._wait(effect, reading, lambda run: stimuli.StateSeen(state=run.state))
            case effects.ReadHistory():
                reading_all = server.read_history(run_id)
                self._wait(
                    effect, reading_all, lambda states: stimuli.HistorySeen(states=tuple(states))
                )
            case effects.RunHooks():
                self._wait(effect, self._hooks.run(record, self._job, self._listen), _itself)
            case effects.EndHooks():
                self._wait(effect, self._hooks.end(record))
            case effects.Settle():
                self._wait(effect, self._hooks.forget_with_run(record, adopted=self._adopted))
            case _:
                assert_never(effect)

    def _propose(self, effect: effects.Propose, record: RunRecord) -> None:
        if self._proposals.begin(effect):
            self._wait(effect, self._proposals.send(effect, record), _itself)

    def _listen(self, fact: ProcessFact) -> None:
        self._actor.actor_ref.tell_if_alive(fact)

    def _wait(
        self,
        effect: effects.Request,
        wait: Awaitable[T],
        on_result: Callable[[T], object] | None = None,
    ) -> None:
        def succeeded(result: T) -> object:
            self._retries.succeeded(effect, self._output.log)
            return messages.EffectDone(effect) if on_result is None else on_result(result)

        self._actor.pipe(wait, succeeded, lambda error: messages.EffectFailed(effect, error))

    # -- results -------------------------------------------------------------------------

    def job_prepared(self, job: PreparedJob, record: RunRecord) -> stimuli.Prepared:
        """Keep the order for the keeper; engines and runners wait by themselves until due."""
        self._job = job
        waits_by_itself = job.summary.is_engine or job.summary.uses_runner
        due_in = 0.0 if waits_by_itself else record.run.due_in(self._ports.clock.now())
        return stimuli.Prepared(
            job=job.summary,
            related=job.related,
            remarks=job.remarks,
            due_in=due_in,
            says_submitting=self.preparation.says_submitting,
        )

    def proposal_answered(
        self, answered: messages.ProposalAnswered, record: RunRecord
    ) -> stimuli.Answered:
        """Make room for the next proposal."""
        self._proposal_ended(record)
        for line in answered.tail:
            self._ship(line)
        return stimuli.Answered(proposal=answered.effect.proposal, verdict=answered.verdict)

    def _proposal_ended(self, record: RunRecord, error: Exception | None = None) -> None:
        newer = self._proposals.end(error)
        if newer is not None:
            self._propose(newer, record)

    def done(self, effect: effects.Request) -> None:
        """Note that nothing is left to do for ``effect``."""
        if effect in self._unfinished:
            self._unfinished.remove(effect)

    def failed(
        self, effect: effects.Request, error: Exception, record: RunRecord
    ) -> stimuli.Stimulus | None:
        """Try again, or return what the machine is told. Raises what ends the actor."""
        is_bug = classify_failure(error) is FailureKind.BUG
        if is_bug:
            self._output.log_bug(type(effect).__name__, error)
        if isinstance(effect, effects.Propose):
            self._proposal_ended(record, error)
        delay = self._retries.delay(effect, error, record, self._output.log)
        if delay is not None:
            self._actor.after(delay, messages.Retry(effect))
            return None
        was_unfinished = effect in self._unfinished
        self.done(effect)
        match effect:
            case effects.Settle() | effects.EndTree() if was_unfinished:
                self.keeper_is_done = False
            case effects.AskKeeper():
                raise error
            case effects.LearnSecrets():
                self._actor.actor_ref.tell_if_alive(messages.SecretsLearned(None))
            case effects.EndTree() if record.exit is None:
                raise error
        if not is_bug and (was_unfinished or isinstance(effect, effects.TellPid)):
            what = type(effect).__name__
            self._output.log.warning("aside.failed", what=what, error=str(error))
        if not is_bug and isinstance(effect, effects.Propose) and is_submitting(effect.proposal):
            self._output.log.debug("aside.failed", what="Submitting", error=str(error))
        cause = bug_in_words(error) if is_bug else self._output.mask(str(error))
        return stimulus_of_failure(effect, error, cause)


def _itself(result: T) -> T:
    """For a result that is a message as it is."""
    return result


def _must_finish(effect: effects.Effect, record: RunRecord) -> bool:
    """Whether the supervisor waits for the effect before it leaves.

    While the process runs it waits for the exit anyway, so it need not wait for EndTree.
    """
    if isinstance(effect, effects.EndTree):
        return record.phase is not Phase.RUNNING and record.exit is None
    return isinstance(effect, effects.AddLabels | effects.Settle)
