"""The life of a run, decided step by step: every order of events without a process or a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from actors.domain.ids import FlowId, FlowRunId, TransitionId
from actors.domain.model import (
    Aborted,
    Accepted,
    FlowRun,
    Proposal,
    Rejected,
    State,
    StateType,
    Verdict,
    Wait,
)
from actors.domain.process import ExitStatus, Leftovers, TreeEnded
from actors.domain.record import JobSummary, Limits, Phase, Reason
from actors.domain.run import Run, new_run
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    CheckState,
    Effect,
    Emit,
    EndTree,
    EventKind,
    FreeSlot,
    PrepareJob,
    Propose,
    ReadHistory,
    Remark,
    Settle,
    Spawn,
    StartTimeout,
    TellPid,
    WaitUntilDue,
)
from actors.process_supervisor.machine.step import step

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLAIM = TransitionId("0b1e4a6e-1111-4222-8333-444455556666")
ENGINE = JobSummary(command="python -m prefect.engine")
RUNNER = JobSummary(
    command="prefect flow-run execute",
    is_engine=False,
    uses_runner=True,
    limits=Limits(grace_seconds=5),
)
COMMAND = JobSummary(command="true", is_engine=False)

E = TypeVar("E")


def state(type_: StateType, message: str | None = None) -> State:
    return State(type=type_, name=type_.title(), message=message)


PENDING = replace(
    state(StateType.PENDING),
    details={"scheduled_time": NOW.isoformat(), "transition_id": CLAIM},
)
COMPLETED = state(StateType.COMPLETED)
CANCELLING = state(StateType.CANCELLING, message="enough")


class Life:
    """A run and everything it asked for so far."""

    def __init__(self, run: Run | None = None) -> None:
        flow_run = FlowRun(
            id=FlowRunId("f" * 8),
            name="bold-boa",
            flow_id=FlowId("1"),
            state=state(StateType.SCHEDULED),
        )
        self.run = run or new_run(flow_run, worker="w", transition=CLAIM)
        self.now = NOW
        self.effects: list[Effect] = []

    def after(self, *stimuli: on.Stimulus) -> Life:
        for stimulus in stimuli:
            self.run, effects = step(self.run, stimulus, now=self.now)
            self.effects += effects
        return self

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def proposed(self) -> list[tuple[StateType, bool]]:
        return [(e.proposal.type, e.proposal.force) for e in self.all(Propose)]

    def answer(self, verdict: Verdict) -> Life:
        return self.after(on.Answered(proposal=self.last_proposal(), verdict=verdict))

    def last_proposal(self) -> Proposal:
        return self.all(Propose)[-1].proposal

    def phase(self) -> Phase:
        return self.run.record.phase

    def claimed(self) -> Life:
        return self.after(on.Begun()).answer(Accepted(state=PENDING))

    def running(self, job: JobSummary = ENGINE) -> Life:
        self.claimed().after(on.Prepared(job=job, related=()))
        return self.after(on.Spawned(pid=42))

    def exited(self, code: int | None) -> Life:
        return self.after(on.Exited(status=ExitStatus(code=code), tail=("last words",)))

    def gone(self) -> Life:
        return self.after(TreeEnded(key=self.run.record.key))


def test_a_clean_engine_run_needs_one_proposal_and_is_settled_once_its_tree_is_gone() -> None:
    life = Life().running().exited(0)
    assert life.all(FreeSlot)
    life.after(on.StateSeen(state=COMPLETED))
    assert not life.all(Settle)
    life.gone()
    assert life.proposed() == [(StateType.PENDING, False)]
    assert [e.kind for e in life.all(Emit)] == [EventKind.SUBMITTED, EventKind.EXECUTED]
    assert life.all(Settle) == [Settle(reason=Reason.EXITED)]
    assert life.all(TellPid) == [TellPid(pid=42)]


@pytest.mark.parametrize(
    "verdict",
    [
        Aborted(state=PENDING, reason="somebody else has it"),
        Rejected(state=state(StateType.SCHEDULED), reason="limit reached"),
        Rejected(state=state(StateType.CANCELLED)),
    ],
)
def test_a_refused_claim_frees_the_slot_once_and_starts_nothing(verdict: Verdict) -> None:
    life = Life().after(on.Begun()).answer(verdict)
    assert life.phase() is Phase.OVER
    assert len(life.all(FreeSlot)) == 1
    assert not life.all(PrepareJob)
    assert life.all(Settle) == [Settle(reason=None)]


def test_a_rejected_claim_that_is_pending_is_our_own_repeat() -> None:
    life = Life().after(on.Begun()).answer(Rejected(state=PENDING, reason="already made"))
    assert life.all(PrepareJob)


def test_a_deleted_run_is_forgotten() -> None:
    life = Life().after(on.Begun())
    life.after(on.Unanswerable(proposal=life.last_proposal(), cause="not found"))
    assert life.phase() is Phase.OVER
    assert len(life.all(FreeSlot)) == 1


def test_a_plain_command_waits_until_it_is_due() -> None:
    life = Life().claimed().after(on.Prepared(job=COMMAND, related=(), due_in=3.5))
    assert life.all(WaitUntilDue) == [WaitUntilDue(seconds=3.5)]
    assert not life.all(Spawn)
    assert life.after(on.Due()).all(CheckState)
    assert life.after(on.StateSeen(state=PENDING)).all(Spawn)


@pytest.mark.parametrize("seen", [state(StateType.CANCELLED), state(StateType.SCHEDULED), None])
def test_what_was_taken_away_while_it_waited_is_not_started(seen: State | None) -> None:
    life = Life().claimed().after(on.Prepared(job=COMMAND, related=(), due_in=3.5))
    life.after(on.Due(), on.StateSeen(state=seen))
    assert not life.all(Spawn)
    assert life.proposed() == [(StateType.PENDING, False)]
    assert life.all(Settle) == [Settle(reason=None)]


def test_what_was_cancelled_while_it_waited_is_reported_as_cancelled() -> None:
    life = Life().claimed().after(on.Prepared(job=COMMAND, related=(), due_in=3.5))
    life.after(on.Due(), on.StateSeen(state=CANCELLING))
    assert not life.all(Spawn)
    assert life.last_proposal().type is StateType.CANCELLED


def revived(end: State | None) -> Life:
    """A run whose claim was taken though it was not scheduled; ``end``: what it was before."""
    life = Life().after(on.Begun()).answer(Accepted(state=state(StateType.PENDING)))
    assert life.all(ReadHistory)
    ours = replace(PENDING, details={"transition_id": CLAIM})
    past = (state(StateType.SCHEDULED), *((end,) if end else ()), ours)
    return life.after(on.HistorySeen(states=past))


def test_an_end_that_a_late_claim_has_overwritten_is_put_back() -> None:
    end = replace(COMPLETED, message="All is well", data={"type": "result"})
    life = revived(end)
    back = life.last_proposal()
    assert (back.type, back.name, back.message) == (end.type, end.name, end.message)
    assert (back.data, back.force) == (end.data, False)
    assert not life.all(PrepareJob)
    life.answer(Accepted(state=end))
    assert life.all(Settle) == [Settle(reason=None)]


def test_a_cancel_after_a_late_claim_does_not_hide_the_end_before_it() -> None:
    life = Life().after(on.Begun()).answer(Accepted(state=state(StateType.PENDING)))
    life.after(on.HistorySeen(states=(COMPLETED, PENDING, CANCELLING)))
    assert not life.all(PrepareJob)
    assert life.last_proposal().type is StateType.COMPLETED


def test_a_claim_without_a_time_that_overwrote_nothing_is_ours() -> None:
    assert revived(None).all(PrepareJob)


def test_a_nonzero_exit_is_proposed_as_crashed_with_the_cause_in_words() -> None:
    life = Life().running().exited(-9)
    assert life.last_proposal().type is StateType.CRASHED
    assert "SIGKILL" in (life.last_proposal().message or "")
    assert "last words" in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED))).gone()
    assert life.all(Settle) == [Settle(reason=Reason.FAILED)]


def test_a_flow_that_failed_by_itself_keeps_its_state() -> None:
    life = Life().running().exited(1)
    life.answer(Aborted(state=state(StateType.FAILED), reason="terminal")).gone()
    assert life.proposed() == [(StateType.PENDING, False), (StateType.CRASHED, False)]
    assert life.phase() is Phase.OVER


def test_a_cancelled_run_is_ended_and_proposed_as_cancelled_with_its_message_kept() -> None:
    life = Life().running().after(on.CancelWanted(state=CANCELLING))
    assert life.all(EndTree) == [EndTree(signal=15, grace_seconds=30.0, announce_cancel=True)]
    life.exited(-15)
    assert life.last_proposal().type is StateType.CANCELLED
    assert life.last_proposal().message == "enough"
    assert not life.last_proposal().force
    life.answer(Accepted(state=state(StateType.CANCELLED))).gone()
    assert life.all(Settle) == [Settle(reason=Reason.CANCELLED)]
    assert [e.kind for e in life.all(Emit)][-1] is EventKind.CANCELLED


@pytest.mark.parametrize("held", [CANCELLING, state(StateType.CRASHED)])
def test_force_is_used_over_cancelling_and_over_the_crash_that_our_cancel_caused(
    held: State,
) -> None:
    life = Life().running().after(on.CancelWanted(state=CANCELLING)).exited(-15)
    life.answer(Aborted(state=held))
    assert life.proposed()[-1] == (StateType.CANCELLED, True)
    life.answer(Accepted(state=state(StateType.CANCELLED))).gone()
    assert life.phase() is Phase.OVER


@pytest.mark.parametrize("held", [StateType.COMPLETED, StateType.FAILED])
def test_a_run_that_was_over_before_its_cancellation_keeps_its_state(held: StateType) -> None:
    life = Life().running().after(on.CancelWanted(state=CANCELLING)).exited(0)
    life.answer(Aborted(state=state(held))).gone()
    assert (StateType.CANCELLED, True) not in life.proposed()
    assert life.phase() is Phase.OVER


def test_a_crash_that_meets_cancelling_becomes_cancelled() -> None:
    life = Life().running().exited(-15).answer(Rejected(state=CANCELLING))
    assert life.proposed()[-1] == (StateType.CANCELLED, False)


def test_the_ids_of_reports_follow_from_the_claim() -> None:
    first = Life().running().exited(3).last_proposal()
    again = Life().running().exited(3).last_proposal()
    assert first.transition_id == again.transition_id != CLAIM


@pytest.mark.parametrize("phase", ["claiming", "preparing", "spawning"])
def test_cancelling_before_the_process_exists_ends_as_cancelled(phase: str) -> None:
    life = Life().after(on.Begun())
    wanted = on.CancelWanted(state=CANCELLING)
    if phase == "claiming":
        life.after(wanted).answer(Accepted(state=PENDING))
    elif phase == "preparing":
        life.answer(Accepted(state=PENDING)).after(wanted)
        life.after(on.Prepared(job=ENGINE, related=()))
    else:
        life.answer(Accepted(state=PENDING)).after(on.Prepared(job=ENGINE, related=()), wanted)
        life.after(on.Spawned(pid=7))
        assert life.all(EndTree)
        life.exited(-15).gone()
    assert life.last_proposal().type is StateType.CANCELLED
    assert bool(life.all(Spawn)) == (phase == "spawning")
    life.answer(Accepted(state=state(StateType.CANCELLED)))
    assert life.phase() is Phase.OVER
    assert len(life.all(FreeSlot)) == 1
    assert life.all(Settle) == [Settle(reason=Reason.CANCELLED)]


def test_a_run_that_was_not_ours_to_cancel_has_no_reason() -> None:
    life = Life().after(on.Begun(), on.CancelWanted(state=CANCELLING))
    life.answer(Aborted(state=state(StateType.RUNNING)))
    assert life.all(Settle) == [Settle(reason=None)]


@pytest.mark.parametrize(
    ("stimulus", "reported"),
    [
        (on.CancelWanted(state=CANCELLING), StateType.CANCELLED),
        (on.EndWanted(reason=Reason.WORKER_STOPPED), StateType.CRASHED),
    ],
    ids=["cancelled", "stopped"],
)
def test_what_is_to_be_ended_before_it_was_ordered_to_start_is_reported_at_once(
    stimulus: on.Stimulus, reported: StateType
) -> None:
    life = Life().claimed().after(on.Prepared(job=ENGINE, related=()), stimulus)
    assert life.run.ends_unstarted
    life.after(on.CouldNotSpawn(cause="it was not tried"))
    assert life.last_proposal().type is reported
    assert not life.all(EndTree)
    life.answer(Accepted(state=state(reported)))
    assert life.run.is_over


def test_what_is_cancelled_while_spawning_stays_cancelled_when_the_worker_stops() -> None:
    life = Life().claimed().after(on.Prepared(job=ENGINE, related=()))
    life.after(on.CancelWanted(state=CANCELLING), on.EndWanted(reason=Reason.WORKER_STOPPED))
    life.after(on.Spawned(pid=7)).exited(-15)
    life.answer(Aborted(state=state(StateType.CRASHED)))
    assert life.proposed()[-1] == (StateType.CANCELLED, True)


def test_what_cannot_be_prepared_is_crashed_with_the_cause() -> None:
    life = Life().claimed().after(on.CouldNotPrepare(cause="Variable 'x' is wrong."))
    assert life.last_proposal().type is StateType.CRASHED
    assert "Variable 'x' is wrong." in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED)))
    assert life.all(Settle) == [Settle(reason=Reason.COULD_NOT_START)]
    assert not life.all(Emit)


def test_what_cannot_be_spawned_is_crashed_with_the_cause() -> None:
    life = (
        Life()
        .claimed()
        .after(on.Prepared(job=COMMAND, related=()), on.CouldNotSpawn(cause="No such file: frob"))
    )
    assert "No such file: frob" in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED)))
    assert life.phase() is Phase.OVER


@pytest.mark.parametrize("job", [ENGINE, COMMAND])
def test_a_run_that_ends_well_while_it_is_being_cancelled_becomes_cancelled(
    job: JobSummary,
) -> None:
    life = Life().running(job).exited(0).gone().after(on.StateSeen(state=CANCELLING))
    assert life.last_proposal().type is StateType.CANCELLED


def test_a_plain_command_that_ends_well_has_its_state_looked_at() -> None:
    life = Life().running(COMMAND).exited(0)
    assert life.all(CheckState)
    life.after(on.StateSeen(state=PENDING))
    assert any("report_states" in remark.text for remark in life.all(Remark))


def test_a_command_that_reports_states_is_a_full_run() -> None:
    job = JobSummary(command="true", is_engine=False, report_states=True)
    life = Life().running(job)
    assert life.last_proposal().type is StateType.RUNNING
    life.answer(Accepted(state=state(StateType.RUNNING))).exited(0)
    assert life.last_proposal().type is StateType.COMPLETED
    failed = Life().running(job).exited(2)
    assert failed.last_proposal().type is StateType.FAILED


def test_a_report_that_has_to_wait_is_made_again_after_that() -> None:
    job = JobSummary(command="true", is_engine=False, report_states=True)
    life = Life().running(job).answer(Wait(delay_seconds=3.0))
    again = life.all(Propose)[-1]
    assert (again.proposal.type, again.delay_seconds) == (StateType.RUNNING, 3.0)
    life.answer(Accepted(state=state(StateType.RUNNING)))
    assert life.run.record.report is None


def test_a_run_past_its_time_is_ended_and_says_so() -> None:
    limits = Limits(timeout_seconds=60, grace_seconds=5)
    life = Life().running(JobSummary(command="x", limits=limits))
    assert life.all(StartTimeout) == [StartTimeout(seconds=60)]
    life.after(on.EndWanted(reason=Reason.TIMED_OUT)).exited(-15)
    assert life.last_proposal().type is StateType.CRASHED
    assert "60" in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED))).gone()
    assert life.all(Settle) == [Settle(reason=Reason.TIMED_OUT)]


def test_a_runner_command_cancels_by_itself() -> None:
    life = Life().running(RUNNER)
    for _ in range(4):
        life.after(on.CancelWanted(state=CANCELLING))
        assert not life.all(EndTree)
        life.now += timedelta(seconds=9)


def test_a_runner_that_hangs_while_it_cancels_is_ended() -> None:
    life = Life().running(RUNNER).after(on.CancelWanted(state=CANCELLING))
    life.now += timedelta(seconds=35)
    life.after(on.CancelWanted(state=CANCELLING))
    assert [order.grace_seconds for order in life.all(EndTree)] == [5]
    life.exited(-9).gone()
    assert life.proposed()[-1] == (StateType.CANCELLED, False)
    life.answer(Accepted(state=state(StateType.CANCELLED)))
    assert life.all(Settle) == [Settle(reason=Reason.CANCELLED)]


def test_leftovers_do_not_hold_the_slot() -> None:
    life = Life().running().exited(0)
    assert life.all(FreeSlot)
    assert life.phase() is Phase.REPORTING
    left = Leftovers(processes=((43, "sleep"), (44, "sleep")))
    life.after(on.StateSeen(state=COMPLETED), TreeEnded(key=life.run.record.key, leftovers=left))
    assert life.phase() is Phase.OVER


class TestAdoption:
    """What a successor does with the record of a supervisor that died."""

    @staticmethod
    def successor(life: Life) -> Life:
        return Life(Run.from_record(life.run.record))

    def test_a_claim_under_way_is_asked_again_with_the_same_id(self) -> None:
        life = self.successor(Life().after(on.Begun())).after(on.Adopted(pid=None))
        assert life.last_proposal().transition_id == CLAIM

    def test_what_was_never_started_is_prepared_again(self) -> None:
        before = Life().claimed().after(on.Prepared(job=ENGINE, related=()))
        assert before.phase() is Phase.SPAWNING
        life = self.successor(before).after(on.Adopted(pid=None))
        assert life.all(PrepareJob)

    def test_what_was_started_meanwhile_is_running(self) -> None:
        before = Life().claimed().after(on.Prepared(job=ENGINE, related=()))
        life = self.successor(before).after(on.Adopted(pid=9))
        assert life.phase() is Phase.RUNNING
        assert not life.all(Spawn)

    def test_a_running_one_goes_on_and_its_exit_is_reported(self) -> None:
        life = self.successor(Life().running()).after(on.Adopted(pid=42))
        assert not life.proposed()
        life.exited(3)
        assert life.last_proposal().type is StateType.CRASHED

    def test_one_that_nobody_knows_is_lost_not_guessed(self) -> None:
        life = self.successor(Life().running()).after(on.Adopted(pid=None))
        assert life.last_proposal().type is StateType.CRASHED
        life.answer(Accepted(state=state(StateType.CRASHED)))
        assert life.all(Settle) == [Settle(reason=Reason.LOST)]

    def test_after_a_reboot_nothing_is_signalled(self) -> None:
        before = Life().running().after(on.CancelWanted(state=CANCELLING))
        life = self.successor(before).after(on.Adopted(pid=42, rebooted=True))
        assert not life.all(EndTree)
        assert life.last_proposal().type is StateType.CANCELLED
        life = self.successor(Life().running()).after(on.Adopted(pid=42, rebooted=True))
        assert "restart" in (life.last_proposal().message or "")

    def test_a_report_under_way_is_sent_again_with_the_same_id(self) -> None:
        before = Life().running().exited(3)
        life = self.successor(before).after(on.Adopted(pid=42))
        assert life.last_proposal() == before.last_proposal()
        assert not life.all(FreeSlot)
        life.answer(Rejected(state=state(StateType.CRASHED))).gone()
        assert life.phase() is Phase.OVER

    def test_an_end_under_way_is_ordered_again(self) -> None:
        before = Life().running().after(on.CancelWanted(state=CANCELLING))
        assert self.successor(before).after(on.Adopted(pid=42)).all(EndTree)

    def test_a_time_limit_goes_on_counting(self) -> None:
        job = JobSummary(command="x", limits=Limits(timeout_seconds=60))
        life = self.successor(Life().running(job))
        life.now = NOW + timedelta(seconds=45)
        assert life.after(on.Adopted(pid=42)).all(StartTimeout) == [StartTimeout(seconds=15)]
