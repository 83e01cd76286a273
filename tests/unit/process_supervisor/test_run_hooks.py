"""The hooks of a flow whose engine is gone: when they run, and what waits for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from actors.domain.model import Aborted, Accepted, Proposal, Rejected, State, StateType
from actors.domain.process import ExitStatus
from actors.domain.record import HooksKind, JobSummary, Phase
from actors.domain.run import CancelRun, Run
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    CheckState,
    EndHooks,
    FreeSlot,
    Remark,
    RunHooks,
    Settle,
    StartHooksTimeout,
)
from tests.unit.process_supervisor.scripted_run import (
    COMMAND,
    ENGINE,
    NOW,
    ScriptedRun,
    state,
)

HOOKED = replace(ENGINE, hooks_seconds=60.0)
CANCELLING = State(type=StateType.CANCELLING, name="Cancelling", id="by a user")
BY_ENGINE = State(type=StateType.CANCELLING, name="Cancelling", id="by the engine")
CRASHED = State(type=StateType.CRASHED, name="Crashed", id="crash")
SUCCESS = on.HooksEnded(status=ExitStatus(code=0))


def killed() -> ScriptedRun:
    return ScriptedRun().running(HOOKED).exited(-9).gone()


def cancelled() -> ScriptedRun:
    run = ScriptedRun().running(HOOKED)
    return run.after(CancelRun(state=CANCELLING)).exited(-9).gone()


def successor(life: ScriptedRun) -> ScriptedRun:
    """What the next supervisor does with the record."""
    return ScriptedRun(Run.from_record(life.run.record)).after(on.Adopted(pid=42)).gone()


def test_hooks_run_once_the_server_has_taken_crashed_and_hold_the_slot() -> None:
    life = killed()
    assert not life.all(RunHooks)
    life.answer(Accepted(state=CRASHED)).after(on.HooksStarted())
    assert life.all(RunHooks) == [RunHooks()]
    hooks = life.run.record.hooks
    assert hooks is not None
    assert (hooks.kind, hooks.state_id) == (HooksKind.CRASHED, "crash")
    assert not life.all(FreeSlot)
    assert not life.all(Settle)
    life.after(SUCCESS)
    assert life.all(FreeSlot)
    assert life.all(Settle)


def repeated(report: Proposal) -> Rejected:
    details = {"transition_id": report.transition_id}
    return Rejected(state=replace(CRASHED, details=details), reason="set already")


def test_a_crash_whose_first_answer_was_lost_is_ours_all_the_same() -> None:
    life = killed()
    life.answer(repeated(life.last_proposal()))
    assert life.all(RunHooks)


@pytest.mark.parametrize(
    "verdict",
    [
        Aborted(state=state(StateType.FAILED), reason="terminal"),
        Aborted(state=state(StateType.CRASHED), reason="terminal"),
        Aborted(state=state(StateType.COMPLETED), reason="terminal"),
    ],
)
def test_no_hooks_run_for_a_run_that_another_has_ended(verdict: Aborted) -> None:
    life = killed().answer(verdict)
    assert not life.all(RunHooks)
    assert life.all(FreeSlot)
    assert life.all(Settle)


@pytest.mark.parametrize("was_deleted", [True, False])
def test_no_hooks_run_when_the_report_is_refused(was_deleted: bool) -> None:
    life = killed()
    report = life.last_proposal()
    life.after(
        on.ProposalFailed(proposal=report, cause="no", was_refused=True, was_deleted=was_deleted)
    )
    assert not life.all(RunHooks)
    assert life.all(FreeSlot)
    assert life.all(Settle)


@pytest.mark.parametrize("job", [ENGINE, COMMAND])
def test_no_hooks_run_when_they_are_switched_off_or_for_other_commands(job: JobSummary) -> None:
    life = ScriptedRun().running(job).exited(-9).gone()
    life.answer(Accepted(state=CRASHED))
    assert not life.all(RunHooks)
    assert life.all(Settle)


def test_no_hooks_run_after_a_receipt() -> None:
    life = ScriptedRun().running(HOOKED).exited(-9, reported="Suspended").gone()
    life.after(on.StateSeen(state=state(StateType.PAUSED)))
    assert not life.all(RunHooks)
    assert life.all(Settle)


def test_cancellation_hooks_run_before_cancelled_is_reported() -> None:
    life = cancelled()
    assert life.all(CheckState)
    life.after(on.StateSeen(state=CANCELLING))
    assert life.all(RunHooks)
    assert StateType.CANCELLED not in [type_ for type_, _ in life.proposed()]
    life.after(on.HooksStarted(), SUCCESS)
    assert life.last_proposal().type is StateType.CANCELLED
    life.answer(Accepted(state=state(StateType.CANCELLED)))
    assert life.all(Settle)


@pytest.mark.parametrize("seen", [BY_ENGINE, CRASHED, state(StateType.CANCELLED)])
def test_an_engine_that_went_to_work_on_its_cancellation_has_run_them(seen: State) -> None:
    life = cancelled().after(on.StateSeen(state=seen))
    assert not life.all(RunHooks)
    assert life.last_proposal().type is StateType.CANCELLED


def test_a_state_that_cannot_be_read_costs_the_hooks_and_not_the_report() -> None:
    life = cancelled().after(on.StateUnknown(cause="refused"))
    assert not life.all(RunHooks)
    assert life.last_proposal().type is StateType.CANCELLED


def test_a_run_that_died_while_it_was_cancelled_has_its_cancellation_hooks_run() -> None:
    life = killed().answer(Rejected(state=CANCELLING, reason="cancelling"))
    assert life.all(RunHooks)
    hooks = life.run.record.hooks
    assert hooks is not None
    assert hooks.kind is HooksKind.CANCELLATION
    life.after(SUCCESS)
    assert life.last_proposal().type is StateType.CANCELLED


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (on.HooksEnded(status=ExitStatus(code=1)), "code 1"),
        (on.HooksFailed(cause="no deployment"), "no deployment"),
    ],
)
def test_hooks_that_fail_are_told_and_change_nothing(trouble: on.Stimulus, words: str) -> None:
    life = killed().answer(Accepted(state=CRASHED)).after(trouble)
    assert any("on_crashed" in r.text and words in r.text for r in life.all(Remark))
    assert life.all(Settle)


def test_hooks_that_take_too_long_are_ended() -> None:
    life = killed().answer(Accepted(state=CRASHED)).after(on.HooksStarted())
    assert life.all(StartHooksTimeout) == [StartHooksTimeout(seconds=60.0)]
    life.after(on.HooksTimedOut())
    assert life.all(EndHooks)
    life.after(on.HooksEnded(status=ExitStatus(code=-15)), on.HooksTimedOut())
    assert life.all(EndHooks) == [EndHooks()]
    assert life.all(Settle)


def test_a_successor_asks_for_the_same_hooks_and_the_time_that_is_left() -> None:
    life = killed().answer(Accepted(state=CRASHED)).after(on.HooksStarted())
    after = successor(life)
    assert after.run.holds_slot
    assert after.all(RunHooks)
    after.now = NOW + timedelta(seconds=45)
    after.after(on.HooksStarted())
    assert after.all(StartHooksTimeout) == [StartHooksTimeout(seconds=15.0)]
    after.after(SUCCESS)
    assert after.all(Settle)


def test_a_successor_that_finds_them_over_runs_none() -> None:
    life = cancelled().after(on.StateSeen(state=CANCELLING), SUCCESS)
    after = successor(life)
    assert not after.all(RunHooks)
    assert after.last_proposal().type is StateType.CANCELLED


def test_a_successor_looks_whether_cancellation_hooks_are_wanted() -> None:
    after = successor(cancelled())
    assert after.all(CheckState)
    after.after(on.StateSeen(state=CANCELLING))
    assert after.all(RunHooks)


def test_a_worker_with_a_bug_ends_the_hooks_and_reports() -> None:
    life = cancelled().after(on.StateSeen(state=CANCELLING))
    life.after(on.WorkerFailed(cause="a bug"))
    assert life.all(EndHooks)
    assert life.last_proposal().type is StateType.CANCELLED
    assert life.phase() is Phase.REPORTING
