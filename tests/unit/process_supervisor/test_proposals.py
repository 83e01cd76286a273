"""What we answer ourselves instead of letting the server overwrite an end."""

from __future__ import annotations

import pytest

from actors.domain.ids import TransitionId
from actors.domain.model import Aborted, Proposal, Rejected, State, StateType
from actors.process_supervisor.machine.proposals import foreseen

OURS = TransitionId("ours")
LIVE = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED)
ENDS = (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED)


def proposal(type_: StateType, *, force: bool = False) -> Proposal:
    return Proposal(type=type_, name=type_.title(), transition_id=OURS, force=force)


def state(type_: StateType, by: str = "others") -> State:
    return State(type=type_, name=type_.title(), details={"transition_id": by})


@pytest.mark.parametrize("there", ENDS)
@pytest.mark.parametrize("proposed", [StateType.RUNNING, *ENDS])
def test_no_report_is_sent_over_an_end(proposed: StateType, there: StateType) -> None:
    assert isinstance(foreseen(proposal(proposed), state(there)), Aborted)


@pytest.mark.parametrize("there", LIVE)
@pytest.mark.parametrize("proposed", [StateType.RUNNING, *ENDS])
def test_what_is_not_over_is_for_the_server_to_judge(
    proposed: StateType, there: StateType
) -> None:
    assert foreseen(proposal(proposed), state(there)) is None


def test_a_rescheduled_run_is_not_ours_any_more() -> None:
    answer = foreseen(proposal(StateType.CRASHED), state(StateType.SCHEDULED))
    assert isinstance(answer, Aborted)


@pytest.mark.parametrize("there", StateType)
def test_a_claim_is_repeated_only_for_a_run_that_is_still_scheduled(there: StateType) -> None:
    answer = foreseen(proposal(StateType.PENDING), state(there))
    assert (answer is None) == (there is StateType.SCHEDULED)


def test_our_own_claim_is_recognised() -> None:
    answer = foreseen(proposal(StateType.PENDING), state(StateType.PENDING, by=OURS))
    assert isinstance(answer, Rejected)


@pytest.mark.parametrize("there", StateType)
def test_force_is_sent_only_over_cancelling_and_crashed(there: StateType) -> None:
    answer = foreseen(proposal(StateType.CANCELLED, force=True), state(there))
    assert (answer is None) == (there in (StateType.CANCELLING, StateType.CRASHED))
