"""The states a run's supervisor proposes, with transition ids that follow from the claim.

An id that is computed instead of drawn needs no record to stay the same: a supervisor that dies
between sending a report and noting it sends the very same transition again.
"""

from __future__ import annotations

import uuid
from typing import Final

from ...domain.ids import TransitionId
from ...domain.model import Aborted, FlowRun, Json, Proposal, Rejected, State, StateType, Verdict
from ...domain.record import RunRecord

SUBMITTING: Final = "Submitting"


def claim(record: RunRecord) -> Proposal:
    """Pending: makes the run ours."""
    return Proposal(type=StateType.PENDING, name="Pending", transition_id=record.claim)


def submitting(record: RunRecord) -> Proposal:
    """Pending by another name: its process is about to be started."""
    return _submitting(record.claim)


def is_submitting(proposal: Proposal) -> bool:
    """Whether it is that, of any claim."""
    return proposal.type is StateType.PENDING and proposal.name == SUBMITTING


def is_pending_by(claim: TransitionId, state: State) -> bool:
    """Whether the run is Pending or Submitting by this claim. Old servers send no ids."""
    ours = (claim, _submitting(claim).transition_id, None)
    return state.type is StateType.PENDING and state.transition_id in ours


def running(record: RunRecord) -> Proposal:
    """Running: for a plain command whose job asks us to report its states."""
    return _proposal(record, StateType.RUNNING, "Running")


def outcome(record: RunRecord, *, ok: bool, message: str | None) -> Proposal:
    """Completed or Failed: likewise."""
    if ok:
        return _proposal(record, StateType.COMPLETED, "Completed", message)
    return _proposal(record, StateType.FAILED, "Failed", message)


def crashed(record: RunRecord, message: str) -> Proposal:
    """Crashed, with the cause in words."""
    return _proposal(record, StateType.CRASHED, "Crashed", message)


def cancelled(record: RunRecord, state: State, *, force: bool = False) -> Proposal:
    """Cancelled, keeping message, details and data of the state that wanted it."""
    return Proposal(
        type=StateType.CANCELLED,
        name="Cancelled",
        transition_id=_derived(record.claim, "forced" if force else "CANCELLED"),
        message=state.message or ("The flow run was cancelled." if force else None),
        details=_without_transition(state),
        data=state.data,
        force=force,
    )


def unrunnable(record: RunRecord) -> Proposal:
    """Cancelling: over a Scheduled run without a process the server sets Cancelled by itself."""
    return _proposal(record, StateType.CANCELLING, "Cancelling")


def scheduled(record: RunRecord) -> Proposal:
    """What it was before our claim: another worker may start it."""
    due = record.run.due
    return Proposal(
        type=StateType.SCHEDULED,
        name="Scheduled",
        transition_id=_derived(record.claim, StateType.SCHEDULED),
        message="Its worker stopped before it could start it.",
        details={} if due is None else {"scheduled_time": due.isoformat()},
    )


def put_back(record: RunRecord, state: State) -> Proposal:
    """The end that a run had before our claim revived it by mistake."""
    return Proposal(
        type=state.type,
        name=state.name,
        transition_id=_derived(record.claim, "put back"),
        message=state.message,
        details=_without_transition(state),
        data=state.data,
    )


def foreseen(proposal: Proposal, run: FlowRun) -> Verdict | None:
    """The answer that we give ourselves to a report or a repeated claim; None: ask the server.

    The server keeps the end of a run against Crashed alone: it takes Pending, Running, Cancelled
    and the like over Completed, and whatever is forced over anything (its core policy, rule
    HandleFlowTerminalStateTransitions). A run that was rescheduled or suspended meanwhile is not
    ours either: it can be started or resumed. But a run that waits for its own process to retry it
    is ours, since the server never offers it again.
    """
    state = run.state
    is_set = state.transition_id == proposal.transition_id and not proposal.force
    if proposal.type is StateType.PENDING and state.transition_id is not None:
        is_set = is_pending_by(proposal.transition_id, state)
    if is_set:
        return Rejected(state=state, reason="This state was set already.")
    if proposal.type in (StateType.PENDING, StateType.CANCELLING):
        stays = state.type is not StateType.SCHEDULED
    elif proposal.force:
        stays = state.type not in (StateType.CANCELLING, StateType.CRASHED)
    else:
        stays = state.type.is_terminal or _is_for_others(run)
    return Aborted(state=state, reason=f"it is {state.name} already") if stays else None


def foreseen_submitting(record: RunRecord, run: FlowRun) -> Verdict | None:
    """Likewise for Submitting, which a server takes over Scheduled and over most ends, too."""
    is_ours = is_pending_by(record.claim, run.state) and run.state.name != SUBMITTING
    return None if is_ours else Aborted(state=run.state, reason=f"it is {run.state.name}")


def _is_for_others(run: FlowRun) -> bool:
    state = run.state
    if state.type is StateType.PAUSED:
        return state.details.get("pause_reschedule") is True
    waits_here = run.retries_in_process and state.name == "AwaitingRetry"
    return state.type is StateType.SCHEDULED and not waits_here


def _submitting(claim: TransitionId) -> Proposal:
    return Proposal(
        type=StateType.PENDING, name=SUBMITTING, transition_id=_derived(claim, SUBMITTING)
    )


def _proposal(
    record: RunRecord, type_: StateType, name: str, message: str | None = None
) -> Proposal:
    return Proposal(
        type=type_, name=name, transition_id=_derived(record.claim, type_), message=message
    )


def _without_transition(state: State) -> dict[str, Json]:
    return {k: v for k, v in state.details.items() if k != "transition_id"}


def _derived(transition: TransitionId, purpose: str) -> TransitionId:
    return TransitionId(str(uuid.uuid5(uuid.UUID(transition), purpose)))
