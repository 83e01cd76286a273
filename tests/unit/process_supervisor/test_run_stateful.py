"""The life of a run under every order of stimuli: what the machine promises whatever comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.domain.ids import TransitionId
from actors.domain.model import Aborted, Proposal, State, StateType, Verdict, Wait
from actors.domain.process import ExitStatus, TreeEnded
from actors.domain.record import JobSummary, Phase, Reason
from actors.domain.run import CancelRun, EndRun, Run, new_run
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    CheckState,
    Effect,
    EndHooks,
    EndTree,
    FreeSlot,
    PrepareJob,
    Propose,
    ReadHistory,
    Remark,
    RunHooks,
    Settle,
    Spawn,
)
from actors.process_supervisor.machine.step import step
from tests.support.builders import a_run
from tests.unit.process_supervisor.strategies import (
    START,
    WISHES,
    jobs,
    leftovers,
    states,
    statuses,
    verdicts,
)

CLAIM = TransitionId("0b1e4a6e-1111-4222-8333-444455556666")
CANCELLING = State(type=StateType.CANCELLING, name="Cancelling", message="enough")
ORDER = list(Phase)


def reason_of(exited: on.Exited) -> Reason:
    """Why a run ended whose end nobody wished for."""
    if exited.status.reported is not None:
        return Reason.EXITED
    if exited.status.code is None:
        return Reason.LOST
    if exited.kernel_kill and exited.status.code in (-9, 137):
        return Reason.OUT_OF_MEMORY_KERNEL
    return Reason.EXITED if exited.status.code == 0 else Reason.FAILED


class Life(RuleBasedStateMachine):
    """One claim: its process, the answers under way, and supervisors that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.run: Run = new_run(a_run(), worker="w", transition=CLAIM)
        self.asked: list[Proposal] = []
        """Proposals that no answer came to yet."""
        self.effects: list[Effect] = []
        self.ours = False
        self.preparing = self.spawning = self.begun = self.reading = self.checking = False
        self.process = self.gone = self.rebooted = self.hooks = False
        self.given_up = False
        """Whether its supervisors have failed, so that its end is ordered without a look."""
        self.exited: on.Exited | None = None
        """How its process ended, which the keeper tells every supervisor that asks."""

    def take(self, stimulus: on.Stimulus) -> None:
        before = self.run
        self.now += timedelta(seconds=1)
        self.run, effects = step(before, stimulus, now=self.now)
        self.effects += effects
        for effect in effects:
            self.note(effect, before)
        if not isinstance(stimulus, on.Adopted):
            here, there = ORDER.index(before.record.phase), ORDER.index(self.run.record.phase)
            assert there >= here, "a life has one direction"

    def note(self, effect: Effect, before: Run) -> None:
        said = isinstance(effect, Remark)
        assert said or not before.is_over, "nothing is done after the end"
        match effect:
            case Propose(proposal=proposal):
                self.asked.append(proposal)
            case ReadHistory():
                self.reading = True
            case CheckState():
                self.checking = True
            case PrepareJob():
                assert self.ours, "only what is ours is prepared"
                self.preparing = True
            case Spawn():
                assert self.ours
                assert self.run.record.job is not None
                assert not self.process, "a process is started once"
                self.spawning = True
            case RunHooks():
                assert self.exited, "hooks follow the engine's end"
                self.hooks = True
            case EndHooks():
                assert self.hooks
            case EndTree():
                assert self.process or self.given_up
                assert not self.rebooted or self.given_up, "nothing is signalled after a reboot"
            case _:
                pass

    @rule()
    @precondition(lambda self: not self.begun)
    def begin(self) -> None:
        self.begun = True
        self.take(on.Begun())

    @rule(verdict=verdicts, last=st.booleans())
    @precondition(lambda self: self.asked)
    def answer(self, verdict: Verdict, last: bool) -> None:
        proposal = self.asked.pop(-1 if last else 0)
        if proposal.type is StateType.PENDING and not isinstance(verdict, Wait | Aborted):
            self.ours = self.ours or verdict.state.type is StateType.PENDING
        self.take(on.Answered(proposal=proposal, verdict=verdict))

    @rule()
    @precondition(lambda self: self.asked)
    def fail_to_ask(self) -> None:
        self.take(on.ProposalFailed(proposal=self.asked.pop(), cause="a bug", was_refused=False))

    @rule()
    @precondition(lambda self: self.checking or self.reading)
    def fail_to_see(self) -> None:
        self.checking = self.reading = False
        self.take(on.StateUnknown(cause="a bug"))

    @rule()
    @precondition(lambda self: self.begun and not self.run.is_over)
    def be_given_up(self) -> None:
        """Supervisor after supervisor has failed; the last one does not ask the keeper."""
        self.asked.clear()
        self.preparing = self.spawning = self.reading = self.checking = False
        self.run = Run.from_record(self.run.record)
        self.given_up = True
        self.take(on.WorkerFailed(cause="a bug"))
        if not self.run.is_claiming and not self.run.is_over:
            assert not self.run.holds_slot
            assert self.asked, "its end is told"

    @rule()
    @precondition(lambda self: self.asked)
    def refuse_for_good(self) -> None:
        self.take(on.ProposalFailed(proposal=self.asked.pop(), cause="deleted", was_refused=True))

    @rule(job=jobs, wait=st.sampled_from((0.0, 4.0)))
    @precondition(lambda self: self.preparing)
    def prepared(self, job: JobSummary, wait: float) -> None:
        self.preparing = False
        self.take(on.Prepared(job=job, related=(), due_in=wait))

    @rule(missing=st.booleans())
    @precondition(lambda self: self.preparing)
    def not_prepared(self, missing: bool) -> None:
        self.preparing = False
        self.take(on.CouldNotPrepare(cause="no such block", deployment_missing=missing))

    @rule()
    def due(self) -> None:
        self.take(on.Due())

    @rule(told=st.booleans())
    @precondition(lambda self: self.spawning and not self.process)
    def start_process(self, told: bool) -> None:
        self.spawning, self.process = False, True
        if told:
            self.take(on.Spawned(pid=42))

    @rule()
    @precondition(lambda self: self.spawning and not self.process)
    def not_started(self) -> None:
        self.spawning = False
        self.take(on.CouldNotSpawn(cause="no such command"))

    @rule()
    @precondition(lambda self: self.spawning and not self.process and self.run.ends_unstarted)
    def withdraw_the_start(self) -> None:
        """It was wanted otherwise before the order was given."""
        self.spawning = False
        self.take(on.CouldNotSpawn(cause="it was not tried"))
        assert self.run.record.reason is not Reason.COULD_NOT_START

    @rule(status=statuses, kernel_kill=st.booleans(), tail_follows=st.booleans())
    @precondition(lambda self: self.process and not self.exited)
    def exit(self, status: ExitStatus, kernel_kill: bool, tail_follows: bool) -> None:
        self.exited = on.Exited(status=status, kernel_kill=kernel_kill, tail_follows=tail_follows)
        self.hear_of_the_exit(self.exited)

    @rule()
    def know_the_tail(self) -> None:
        before = self.run.record
        self.take(on.TailKnown(tail=("the end",)))
        assert self.run.record.reason is before.reason
        assert (self.run.record.report is None) == (before.report is None)

    def hear_of_the_exit(self, exited: on.Exited) -> None:
        """What the reason is when nobody had wished for the end before."""
        before = self.run.record
        self.take(exited)
        after = self.run.record
        if before.phase not in (Phase.SPAWNING, Phase.RUNNING):
            assert after.reason == before.reason, "an end has one reason"
        elif before.reason is not None:
            assert after.reason is before.reason, "who wished for the end first is the reason"
        else:
            assert after.reason is reason_of(exited)

    @rule(leftovers=leftovers)
    @precondition(lambda self: self.exited and not self.gone)
    def vacate(self, leftovers: tuple[tuple[int, str], ...]) -> None:
        self.gone = True
        self.take(TreeEnded(key=self.run.record.key, leftovers=leftovers))

    @rule(code=st.sampled_from((0, 1, None)))
    @precondition(lambda self: self.hooks)
    def end_hooks(self, code: int | None) -> None:
        self.take(on.HooksEnded(status=ExitStatus(code=code)))
        assert not self.run.record.awaits_hooks

    @rule()
    @precondition(lambda self: self.hooks)
    def fail_hooks(self) -> None:
        self.take(on.HooksFailed(cause="no deployment"))
        assert not self.run.record.awaits_hooks

    @rule()
    @precondition(lambda self: self.hooks)
    def time_hooks(self) -> None:
        self.take(on.HooksStarted())
        self.take(on.HooksTimedOut())

    @rule()
    def cancel(self) -> None:
        self.take(CancelRun(state=CANCELLING))

    @rule(reason=st.sampled_from(WISHES))
    def end(self, reason: Reason) -> None:
        self.take(EndRun(reason=reason))

    @rule(state=st.one_of(st.none(), states))
    @precondition(lambda self: self.checking)
    def see(self, state: State | None) -> None:
        self.checking = False
        if self.run.is_claiming and state is not None and state.type is StateType.PENDING:
            self.ours = self.ours or state.transition_id in (self.run.record.claim, None)
        self.take(on.StateSeen(state=state))

    @rule(states=st.lists(states, max_size=3).map(tuple))
    @precondition(lambda self: self.reading)
    def see_history(self, states: tuple[State, ...]) -> None:
        """Our claim may have come after the end that another worker brought about."""
        self.reading = False
        claiming = self.run.is_claiming
        self.take(on.HistorySeen(states=states))
        if claiming and states and states[-1].type.is_terminal:
            self.ours = False
            assert not self.preparing, "what was over is not started again"
            last = self.asked[-1]
            assert (last.type, last.force) == (states[-1].type, False), "its end is put back"

    @rule(reboot=st.booleans())
    @precondition(lambda self: self.begun and not self.run.is_over)
    def be_succeeded(self, reboot: bool) -> None:
        """The worker dies; the next one reads the record and asks the keeper."""
        self.asked.clear()
        self.preparing = self.spawning = self.reading = self.checking = False
        self.run = Run.from_record(self.run.record)
        self.rebooted = reboot and self.process and not self.gone
        pid = 42 if self.process else None
        lost = self.rebooted and not self.exited
        self.take(on.Adopted(pid=pid, rebooted=lost))
        if self.exited:  # what the keeper knows already is told first, but it saw no evidence
            self.hear_of_the_exit(replace(self.exited, kernel_kill=False))
        if lost:
            self.exited = on.Exited(status=ExitStatus(code=None))
        if self.gone or self.rebooted:
            self.gone = self.gone or self.exited is not None
            self.take(TreeEnded(key=self.run.record.key))

    @invariant()
    def slots_are_freed_once_and_in_the_end(self) -> None:
        record = self.run.record
        has_ended = record.phase in (Phase.REPORTING, Phase.OVER)
        assert self.run.holds_slot == (not has_ended or record.awaits_hooks)

    @invariant()
    def the_end_is_reached_with_nothing_left(self) -> None:
        settled = sum(isinstance(effect, Settle) for effect in self.effects)
        assert settled == (1 if self.run.is_over else 0)
        if self.run.is_over:
            assert self.run.record.report is None
            assert self.gone or not self.process or self.given_up, "settled with something alive"

    @invariant()
    def force_is_for_cancelled_only(self) -> None:
        for effect in self.effects:
            if isinstance(effect, Propose) and effect.proposal.force:
                assert effect.proposal.type is StateType.CANCELLED

    @invariant()
    def one_id_means_one_state(self) -> None:
        seen: dict[TransitionId, Proposal] = {}
        for effect in self.effects:
            if isinstance(effect, Propose):
                proposal = replace(effect.proposal, message=None)
                first = seen.setdefault(proposal.transition_id, proposal)
                assert (first.type, first.force) == (proposal.type, proposal.force)

    @invariant()
    def what_is_over_for_the_machine_freed_its_slot(self) -> None:
        freed = sum(isinstance(effect, FreeSlot) for effect in self.effects)
        assert freed <= 1, "a slot is freed once"


TestLife = Life.TestCase
