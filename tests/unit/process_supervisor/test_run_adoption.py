"""What a successor does with the record of a supervisor that died."""

from __future__ import annotations

from datetime import timedelta

from actors.domain.model import (
    Accepted,
    Rejected,
    StateType,
)
from actors.domain.record import JobSummary, Limits, Phase, Reason
from actors.domain.run import CancelRun, Run
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    EndTree,
    FreeSlot,
    PrepareJob,
    Settle,
    Spawn,
    StartTimeout,
)
from tests.unit.process_supervisor.scripted_run import (
    CANCELLING,
    CLAIM,
    ENGINE,
    NOW,
    ScriptedRun,
    state,
)


def successor(life: ScriptedRun) -> ScriptedRun:
    return ScriptedRun(Run.from_record(life.run.record))


def test_a_claim_under_way_is_asked_again_with_the_same_id() -> None:
    life = successor(ScriptedRun().after(on.Begun())).after(on.Adopted(pid=None))
    assert life.last_proposal().transition_id == CLAIM


def test_what_was_never_started_is_prepared_again() -> None:
    before = ScriptedRun().claimed().after(on.Prepared(job=ENGINE, related=()))
    assert before.phase() is Phase.SPAWNING
    life = successor(before).after(on.Adopted(pid=None))
    assert life.all(PrepareJob)


def test_what_was_started_meanwhile_is_running() -> None:
    before = ScriptedRun().claimed().after(on.Prepared(job=ENGINE, related=()))
    life = successor(before).after(on.Adopted(pid=9))
    assert life.phase() is Phase.RUNNING
    assert not life.all(Spawn)


def test_a_running_one_goes_on_and_its_exit_is_reported() -> None:
    life = successor(ScriptedRun().running()).after(on.Adopted(pid=42))
    assert not life.proposed()
    life.exited(3)
    assert life.last_proposal().type is StateType.CRASHED


def test_one_that_nobody_knows_is_lost_not_guessed() -> None:
    life = successor(ScriptedRun().running()).after(on.Adopted(pid=None))
    assert life.last_proposal().type is StateType.CRASHED
    life.answer(Accepted(state=state(StateType.CRASHED)))
    assert life.all(Settle) == [Settle(reason=Reason.LOST)]


def test_after_a_reboot_nothing_is_signalled() -> None:
    before = ScriptedRun().running().after(CancelRun(state=CANCELLING))
    life = successor(before).after(on.Adopted(pid=42, rebooted=True))
    assert not life.all(EndTree)
    assert life.last_proposal().type is StateType.CANCELLED
    life = successor(ScriptedRun().running()).after(on.Adopted(pid=42, rebooted=True))
    assert "restart" in (life.last_proposal().message or "")


def test_a_report_under_way_is_sent_again_with_the_same_id() -> None:
    before = ScriptedRun().running().exited(3)
    life = successor(before).after(on.Adopted(pid=42))
    assert life.last_proposal() == before.last_proposal()
    assert not life.all(FreeSlot)
    life.answer(Rejected(state=state(StateType.CRASHED))).gone()
    assert life.phase() is Phase.OVER


def test_an_end_under_way_is_ordered_again() -> None:
    before = ScriptedRun().running().after(CancelRun(state=CANCELLING))
    assert successor(before).after(on.Adopted(pid=42)).all(EndTree)


def test_a_time_limit_goes_on_counting() -> None:
    job = JobSummary(command="x", limits=Limits(timeout_seconds=60))
    life = successor(ScriptedRun().running(job))
    life.now = NOW + timedelta(seconds=45)
    assert life.after(on.Adopted(pid=42)).all(StartTimeout) == [StartTimeout(seconds=15)]
