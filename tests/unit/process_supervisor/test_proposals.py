"""What we answer ourselves instead of letting the server overwrite an end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.domain.ids import TransitionId
from actors.domain.model import Aborted, FlowRun, Json, Proposal, Rejected, State, StateType
from actors.process_supervisor.machine.proposals import foreseen
from tests.support.builders import a_run

OURS = TransitionId("0b1e4a6e-1111-4222-8333-444455556666")
LIVE = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)
ENDS = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED)


def proposal(type_: StateType, *, force: bool = False) -> Proposal:
    return Proposal(type=type_, name=type_.title(), transition_id=OURS, force=force)


def held(type_: StateType, by: str = "others") -> FlowRun:
    """The run as the server holds it."""
    state = State(type=type_, name=type_.title(), details={"transition_id": by})
    return replace(a_run(), state=state)


@pytest.mark.parametrize("there", ENDS)
@pytest.mark.parametrize("proposed", [StateType.RUNNING, *ENDS])
def test_no_report_is_sent_over_an_end(proposed: StateType, there: StateType) -> None:
    assert isinstance(foreseen(proposal(proposed), held(there)), Aborted)


@pytest.mark.parametrize("there", LIVE)
@pytest.mark.parametrize("proposed", [StateType.RUNNING, *ENDS])
def test_what_is_not_over_is_for_the_server_to_judge(
    proposed: StateType, there: StateType
) -> None:
    assert foreseen(proposal(proposed), held(there)) is None


@pytest.mark.parametrize(
    ("name", "in_process", "is_ours"),
    [
        ("AwaitingRetry", True, True),
        ("AwaitingRetry", False, False),
        ("Resuming", True, False),
        ("Scheduled", False, False),
    ],
)
def test_a_run_that_waits_for_its_own_process_to_retry_it_ends_with_that(
    name: str, in_process: bool, is_ours: bool
) -> None:
    state = State(type=StateType.SCHEDULED, name=name)
    run = replace(a_run(), state=state, retries_in_process=in_process)
    assert (foreseen(proposal(StateType.CRASHED), run) is None) == is_ours


@pytest.mark.parametrize(("details", "is_ours"), [({"pause_reschedule": True}, False), ({}, True)])
def test_a_suspended_run_can_be_resumed_whatever_its_exit_code(
    details: dict[str, Json], is_ours: bool
) -> None:
    state = State(type=StateType.PAUSED, name="Suspended", details=details)
    run = replace(a_run(), state=state)
    assert (foreseen(proposal(StateType.CRASHED), run) is None) == is_ours


def test_a_rescheduled_run_is_not_ours_any_more() -> None:
    answer = foreseen(proposal(StateType.CRASHED), held(StateType.SCHEDULED))
    assert isinstance(answer, Aborted)


@pytest.mark.parametrize("there", StateType)
def test_a_claim_is_repeated_only_for_a_run_that_is_still_scheduled(there: StateType) -> None:
    answer = foreseen(proposal(StateType.PENDING), held(there))
    assert (answer is None) == (there is StateType.SCHEDULED)


def test_our_own_claim_is_recognised() -> None:
    answer = foreseen(proposal(StateType.PENDING), held(StateType.PENDING, by=OURS))
    assert isinstance(answer, Rejected)


@pytest.mark.parametrize("there", StateType)
def test_force_is_sent_only_over_cancelling_and_crashed(there: StateType) -> None:
    answer = foreseen(proposal(StateType.CANCELLED, force=True), held(there))
    assert (answer is None) == (there in (StateType.CANCELLING, StateType.CRASHED))
