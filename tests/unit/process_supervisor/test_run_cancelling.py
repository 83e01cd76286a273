"""Cancelling, in every phase of a run."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actors.domain.model import (
    Aborted,
    Accepted,
    Rejected,
    State,
    StateType,
)
from actors.domain.record import JobSummary, Phase, Reason
from actors.domain.run import CancelRun, EndRun
from actors.domain.worker_events import EventKind
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    Emit,
    EndTree,
    FreeSlot,
    Settle,
    Spawn,
)
from tests.unit.process_supervisor.scripted_run import (
    CANCELLING,
    COMMAND,
    ENGINE,
    PENDING,
    RUNNER,
    ScriptedRun,
    state,
)


def test_what_was_cancelled_while_it_waited_is_reported_as_cancelled() -> None:
    life = ScriptedRun().claimed().after(on.Prepared(job=COMMAND, related=(), due_in=3.5))
    life.after(on.Due(), on.StateSeen(state=CANCELLING))
    assert not life.all(Spawn)
    assert life.last_proposal().type is StateType.CANCELLED


def test_a_cancelled_run_is_ended_and_proposed_as_cancelled_with_its_message_kept() -> None:
    life = ScriptedRun().running().after(CancelRun(state=CANCELLING))
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
    life = ScriptedRun().running().after(CancelRun(state=CANCELLING)).exited(-15)
    life.answer(Aborted(state=held))
    assert life.proposed()[-1] == (StateType.CANCELLED, True)
    life.answer(Accepted(state=state(StateType.CANCELLED))).gone()
    assert life.phase() is Phase.OVER


@pytest.mark.parametrize("held", [StateType.COMPLETED, StateType.FAILED])
def test_a_run_that_was_over_before_its_cancellation_keeps_its_state(held: StateType) -> None:
    life = ScriptedRun().running().after(CancelRun(state=CANCELLING)).exited(0)
    life.answer(Aborted(state=state(held))).gone()
    assert (StateType.CANCELLED, True) not in life.proposed()
    assert life.phase() is Phase.OVER


def test_a_crash_that_meets_cancelling_becomes_cancelled() -> None:
    life = ScriptedRun().running().exited(-15).answer(Rejected(state=CANCELLING))
    assert life.proposed()[-1] == (StateType.CANCELLED, False)


@pytest.mark.parametrize("phase", ["claiming", "preparing", "spawning"])
def test_cancelling_before_the_process_exists_ends_as_cancelled(phase: str) -> None:
    life = ScriptedRun().after(on.Begun())
    wanted = CancelRun(state=CANCELLING)
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
    life = ScriptedRun().after(on.Begun(), CancelRun(state=CANCELLING))
    life.answer(Aborted(state=state(StateType.RUNNING)))
    assert life.all(Settle) == [Settle(reason=None)]


@pytest.mark.parametrize(
    ("stimulus", "reported"),
    [
        (CancelRun(state=CANCELLING), StateType.CANCELLED),
        (EndRun(reason=Reason.WORKER_STOPPED), StateType.CRASHED),
    ],
    ids=["cancelled", "stopped"],
)
def test_what_is_to_be_ended_before_it_was_ordered_to_start_is_reported_at_once(
    stimulus: on.Stimulus, reported: StateType
) -> None:
    life = ScriptedRun().claimed().after(on.Prepared(job=ENGINE, related=()), stimulus)
    assert life.run.ends_unstarted
    life.after(on.CouldNotSpawn(cause="it was not tried"))
    assert life.last_proposal().type is reported
    assert not life.all(EndTree)
    life.answer(Accepted(state=state(reported)))
    assert life.run.is_over


def test_what_is_cancelled_while_spawning_stays_cancelled_when_the_worker_stops() -> None:
    life = ScriptedRun().claimed().after(on.Prepared(job=ENGINE, related=()))
    life.after(CancelRun(state=CANCELLING), EndRun(reason=Reason.WORKER_STOPPED))
    life.after(on.Spawned(pid=7)).exited(-15)
    life.answer(Aborted(state=state(StateType.CRASHED)))
    assert life.proposed()[-1] == (StateType.CANCELLED, True)


@pytest.mark.parametrize("job", [ENGINE, COMMAND])
def test_a_run_that_ends_well_while_it_is_being_cancelled_becomes_cancelled(
    job: JobSummary,
) -> None:
    life = ScriptedRun().running(job).exited(0).gone().after(on.StateSeen(state=CANCELLING))
    assert life.last_proposal().type is StateType.CANCELLED


def test_a_runner_command_cancels_by_itself() -> None:
    life = ScriptedRun().running(RUNNER)
    for _ in range(4):
        life.after(CancelRun(state=CANCELLING))
        assert not life.all(EndTree)
        life.now += timedelta(seconds=9)


def test_a_runner_that_hangs_while_it_cancels_is_ended() -> None:
    life = ScriptedRun().running(RUNNER).after(CancelRun(state=CANCELLING))
    life.now += timedelta(seconds=35)
    life.after(CancelRun(state=CANCELLING))
    assert [order.grace_seconds for order in life.all(EndTree)] == [5]
    life.exited(-9).gone()
    assert life.proposed()[-1] == (StateType.CANCELLED, False)
    life.answer(Accepted(state=state(StateType.CANCELLED)))
    assert life.all(Settle) == [Settle(reason=Reason.CANCELLED)]
