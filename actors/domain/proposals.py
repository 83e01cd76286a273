"""The states a run's supervisor proposes, with transition ids that follow from the claim.

An id that is computed instead of drawn needs no record to stay the same: a supervisor that dies
between sending a report and noting it sends the very same transition again.
"""

from __future__ import annotations

import uuid

from .ids import TransitionId
from .model import Proposal, State, StateType
from .record import RunRecord


def claim(record: RunRecord) -> Proposal:
    """Pending: makes the run ours."""
    return Proposal(type=StateType.PENDING, name="Pending", transition_id=record.claim)


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
    """Cancelled, keeping message, details and data of the state that wanted it (contract 6.2)."""
    details = {k: v for k, v in state.details.items() if k != "transition_id"}
    return Proposal(
        type=StateType.CANCELLED,
        name="Cancelled",
        transition_id=_derived(record.claim, "forced" if force else "CANCELLED"),
        message=state.message,
        details=details,
        data=state.data,
        force=force,
    )


def _proposal(
    record: RunRecord, type_: StateType, name: str, message: str | None = None
) -> Proposal:
    return Proposal(
        type=type_, name=name, transition_id=_derived(record.claim, type_), message=message
    )


def _derived(transition: TransitionId, purpose: str) -> TransitionId:
    return TransitionId(str(uuid.uuid5(uuid.UUID(transition), purpose)))
