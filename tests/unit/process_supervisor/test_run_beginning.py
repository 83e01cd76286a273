"""From the claim to the process: claimed, prepared, waited, spawned."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from actors.domain.model import (
    Aborted,
    Accepted,
    Rejected,
    State,
    StateType,
    Verdict,
)
from actors.domain.record import Phase, Reason
from actors.domain.run import OfferedAgain
from actors.domain.worker_events import EventKind
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.beginning import DEPLOYMENT_GONE
from actors.process_supervisor.machine.effects import (
    CheckState,
    Emit,
    FreeSlot,
    PrepareJob,
    ReadHistory,
    Remark,
    Settle,
    Spawn,
    TellPid,
    WaitUntilDue,
)
from tests.unit.process_supervisor.scripted_run import (
    CANCELLING,
    CLAIM,
    COMMAND,
    COMPLETED,
    ENGINE,
    PENDING,
    ScriptedRun,
    state,
)


def test_a_clean_engine_run_needs_one_proposal_and_is_settled_once_its_tree_is_gone() -> None:
    life = ScriptedRun().running().exited(0)
    assert life.all(FreeSlot)
    life.after(on.StateSeen(state=COMPLETED))
    assert not life.all(Settle)
    life.gone()
    assert life.proposed() == [(StateType.PENDING, False)]
    assert [e.kind for e in life.all(Emit)] == [EventKind.SUBMITTED, EventKind.EXECUTED]
    assert life.all(Settle) == [Settle(reason=Reason.EXITED)]
    assert life.all(TellPid) == [TellPid(pid=42)]


def test_a_run_whose_deployment_is_gone_is_cancelled_instead_of_offered_for_ever() -> None:
    life = ScriptedRun().after(on.Begun())
    life.answer(Aborted(state=state(StateType.SCHEDULED), reason=DEPLOYMENT_GONE))
    assert life.proposed()[-1] == (StateType.CANCELLING, False)
    life.answer(Rejected(state=state(StateType.CANCELLED)))
    assert life.all(Settle) == [Settle(reason=Reason.COULD_NOT_START)]


@pytest.mark.parametrize(
    "verdict",
    [
        Aborted(state=PENDING, reason="somebody else has it"),
        Rejected(state=state(StateType.SCHEDULED), reason="limit reached"),
        Rejected(state=state(StateType.CANCELLED)),
    ],
)
def test_a_refused_claim_frees_the_slot_once_and_starts_nothing(verdict: Verdict) -> None:
    life = ScriptedRun().after(on.Begun()).answer(verdict)
    assert life.phase() is Phase.OVER
    assert len(life.all(FreeSlot)) == 1
    assert not life.all(PrepareJob)
    assert life.all(Settle) == [Settle(reason=None)]


def test_a_rejected_claim_that_is_pending_is_our_own_repeat() -> None:
    life = ScriptedRun().after(on.Begun()).answer(Rejected(state=PENDING, reason="already made"))
    assert life.all(PrepareJob)


def test_a_deleted_run_is_forgotten() -> None:
    life = ScriptedRun().after(on.Begun())
    life.after(
        on.ProposalFailed(proposal=life.last_proposal(), cause="not found", was_refused=True)
    )
    assert life.phase() is Phase.OVER
    assert len(life.all(FreeSlot)) == 1


def test_a_plain_command_waits_until_it_is_due() -> None:
    life = ScriptedRun().claimed().after(on.Prepared(job=COMMAND, related=(), due_in=3.5))
    assert life.all(WaitUntilDue) == [WaitUntilDue(seconds=3.5)]
    assert not life.all(Spawn)
    assert life.after(on.Due()).all(CheckState)
    assert life.after(on.StateSeen(state=PENDING)).all(Spawn)


@pytest.mark.parametrize("seen", [state(StateType.CANCELLED), state(StateType.SCHEDULED), None])
def test_what_was_taken_away_while_it_waited_is_not_started(seen: State | None) -> None:
    life = ScriptedRun().claimed().after(on.Prepared(job=COMMAND, related=(), due_in=3.5))
    life.after(on.Due(), on.StateSeen(state=seen))
    assert not life.all(Spawn)
    assert life.proposed() == [(StateType.PENDING, False)]
    assert life.all(Settle) == [Settle(reason=None)]


def waits_for_submitting() -> ScriptedRun:
    job = on.Prepared(job=ENGINE, related=(), says_submitting=True)
    return ScriptedRun().claimed().after(job)


def test_submitting_is_proposed_once_before_the_spawn() -> None:
    life = waits_for_submitting()
    proposal = life.last_proposal()
    assert (proposal.type, proposal.name, proposal.force) == (PENDING.type, "Submitting", False)
    assert not life.all(Spawn)
    ours = replace(PENDING, name="Submitting", details={"transition_id": proposal.transition_id})
    life.answer(Accepted(state=ours))
    assert len(life.all(Spawn)) == 1
    life.after(on.Spawned(pid=42)).exited(0)
    assert len(life.proposed()) == 2


@pytest.mark.parametrize(
    "verdict",
    [
        Aborted(state=state(StateType.CANCELLED)),
        Aborted(state=state(StateType.RUNNING)),
        Accepted(state=replace(PENDING, details={"transition_id": "another worker's"})),
    ],
)
def test_only_a_run_that_is_still_pending_by_our_claim_is_spawned(verdict: Verdict) -> None:
    life = waits_for_submitting().answer(verdict)
    assert not life.all(Spawn)
    assert life.all(Settle) == [Settle(reason=None)]


def test_a_run_that_is_being_cancelled_when_it_is_to_be_submitted_is_cancelled() -> None:
    life = waits_for_submitting().answer(Rejected(state=CANCELLING))
    assert life.last_proposal().type is StateType.CANCELLED
    life.answer(Accepted(state=state(StateType.CANCELLED)))
    assert not life.all(Spawn)
    assert life.all(Settle) == [Settle(reason=Reason.CANCELLED)]


def test_a_run_starts_without_submitting_when_that_cannot_be_said() -> None:
    life = waits_for_submitting()
    failed = on.ProposalFailed(proposal=life.last_proposal(), cause="away", was_refused=False)
    life.after(failed, on.StateSeen(state=PENDING))
    assert len(life.all(Spawn)) == 1
    assert len(life.proposed()) == 2


def revived(end: State | None) -> ScriptedRun:
    """A run whose claim was taken though it was not scheduled; ``end``: what it was before."""
    life = ScriptedRun().after(on.Begun()).answer(Accepted(state=state(StateType.PENDING)))
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
    life = ScriptedRun().after(on.Begun()).answer(Accepted(state=state(StateType.PENDING)))
    life.after(on.HistorySeen(states=(COMPLETED, PENDING, CANCELLING)))
    assert not life.all(PrepareJob)
    assert life.last_proposal().type is StateType.COMPLETED


def test_a_claim_without_a_time_that_overwrote_nothing_is_ours() -> None:
    assert revived(None).all(PrepareJob)


def test_a_run_that_is_offered_again_while_its_process_lives_says_so_once() -> None:
    life = ScriptedRun().running()
    life.now += timedelta(seconds=5)
    before = len(life.effects)
    life.after(OfferedAgain(seconds_ago=6.0))
    assert len(life.effects) == before  # the poll was sent before the process was started
    life.after(OfferedAgain(seconds_ago=4.0), OfferedAgain(seconds_ago=0.1))
    [remark] = life.effects[before:]
    assert isinstance(remark, Remark)
    assert "once that has ended" in remark.text


def test_what_cannot_be_prepared_is_crashed_with_the_cause() -> None:
    life = ScriptedRun().claimed().after(on.CouldNotPrepare(cause="Variable 'x' is wrong."))
    assert life.last_proposal().type is StateType.CRASHED
    assert "Variable 'x' is wrong." in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED)))
    assert life.all(Settle) == [Settle(reason=Reason.COULD_NOT_START)]
    assert not life.all(Emit)


def test_what_cannot_be_spawned_is_crashed_with_the_cause() -> None:
    life = (
        ScriptedRun()
        .claimed()
        .after(on.Prepared(job=COMMAND, related=()), on.CouldNotSpawn(cause="No such file: frob"))
    )
    assert "No such file: frob" in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED)))
    assert life.phase() is Phase.OVER
