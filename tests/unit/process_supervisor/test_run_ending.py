"""From the exit to the last report."""

from __future__ import annotations

from actors.domain.model import (
    Aborted,
    Accepted,
    StateType,
    Wait,
)
from actors.domain.process import TreeEnded
from actors.domain.record import JobSummary, Limits, Phase, Reason
from actors.domain.run import CancelRun, EndRun
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    CheckState,
    FreeSlot,
    Propose,
    Remark,
    Settle,
    StartTimeout,
)
from tests.unit.process_supervisor.scripted_run import (
    CANCELLING,
    CLAIM,
    COMMAND,
    COMPLETED,
    PENDING,
    ScriptedRun,
    state,
)


def test_a_nonzero_exit_is_proposed_as_crashed_with_the_cause_in_words() -> None:
    life = ScriptedRun().running().exited(-9)
    assert life.last_proposal().type is StateType.CRASHED
    assert "SIGKILL" in (life.last_proposal().message or "")
    assert "last words" in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED))).gone()
    assert life.all(Settle) == [Settle(reason=Reason.FAILED)]


def test_a_flow_that_failed_by_itself_keeps_its_state() -> None:
    life = ScriptedRun().running().exited(1)
    life.answer(Aborted(state=state(StateType.FAILED), reason="terminal")).gone()
    assert life.proposed() == [(StateType.PENDING, False), (StateType.CRASHED, False)]
    assert life.phase() is Phase.OVER


def test_what_an_engine_has_reported_counts_more_than_its_exit_code() -> None:
    life = ScriptedRun().running().exited(7, reported="Suspended")
    assert life.proposed() == [(StateType.PENDING, False)]
    [ended] = [r for r in life.all(Remark) if "exited" in r.text]
    assert "code 7" in ended.text
    assert "Suspended" in ended.text
    life.after(on.StateSeen(state=state(StateType.PAUSED))).gone()
    assert life.all(Settle) == [Settle(reason=Reason.EXITED)]


def test_a_run_that_has_reported_is_not_cancelled_any_more() -> None:
    life = ScriptedRun().running().after(CancelRun(state=CANCELLING))
    life.exited(-9, reported="Completed").after(on.StateSeen(state=COMPLETED)).gone()
    assert life.proposed() == [(StateType.PENDING, False)]
    assert life.phase() is Phase.OVER


def test_the_ids_of_reports_follow_from_the_claim() -> None:
    first = ScriptedRun().running().exited(3).last_proposal()
    again = ScriptedRun().running().exited(3).last_proposal()
    assert first.transition_id == again.transition_id != CLAIM


def test_a_plain_command_that_ends_well_has_its_state_looked_at() -> None:
    life = ScriptedRun().running(COMMAND).exited(0)
    assert life.all(CheckState)
    life.after(on.StateSeen(state=PENDING))
    assert any("report_states" in remark.text for remark in life.all(Remark))


def test_a_command_that_reports_states_is_a_full_run() -> None:
    job = JobSummary(command="true", is_engine=False, report_states=True)
    life = ScriptedRun().running(job)
    assert life.last_proposal().type is StateType.RUNNING
    life.answer(Accepted(state=state(StateType.RUNNING))).exited(0)
    assert life.last_proposal().type is StateType.COMPLETED
    failed = ScriptedRun().running(job).exited(2)
    assert failed.last_proposal().type is StateType.FAILED


def test_a_report_that_has_to_wait_is_made_again_after_that() -> None:
    job = JobSummary(command="true", is_engine=False, report_states=True)
    life = ScriptedRun().running(job).answer(Wait(delay_seconds=3.0))
    again = life.all(Propose)[-1]
    assert (again.proposal.type, again.delay_seconds) == (StateType.RUNNING, 3.0)
    life.answer(Accepted(state=state(StateType.RUNNING)))
    assert life.run.record.report is None


def test_a_run_past_its_time_is_ended_and_says_so() -> None:
    limits = Limits(timeout_seconds=60, grace_seconds=5)
    life = ScriptedRun().running(JobSummary(command="x", limits=limits))
    assert life.all(StartTimeout) == [StartTimeout(seconds=60)]
    life.after(EndRun(reason=Reason.TIMED_OUT)).exited(-15)
    assert life.last_proposal().type is StateType.CRASHED
    assert "60" in (life.last_proposal().message or "")
    life.answer(Accepted(state=state(StateType.CRASHED))).gone()
    assert life.all(Settle) == [Settle(reason=Reason.TIMED_OUT)]


def test_leftovers_do_not_hold_the_slot() -> None:
    life = ScriptedRun().running().exited(0)
    assert life.all(FreeSlot)
    assert life.phase() is Phase.REPORTING
    left = ((43, "sleep"), (44, "sleep"))
    life.after(on.StateSeen(state=COMPLETED), TreeEnded(key=life.run.record.key, leftovers=left))
    assert life.phase() is Phase.OVER
