"""What a Prefect server answers to a proposed state: its rules for flow runs, pure.

Order and wording of the verdicts are those of the server's core policy in 3.0.0, 3.1.15 and 3.8.8;
tests/contract compares them with real servers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from ..domain.model import Aborted, Accepted, Proposal, Rejected, State, StateType, Verdict, Wait

SLOT_WAIT_SECONDS: Final = 30
"""How long a run waits before it may ask for a concurrency slot again."""

HOLDS_SLOT: Final = frozenset({StateType.PENDING, StateType.RUNNING, StateType.CANCELLING})
"""States in which a run occupies a slot of its deployment's concurrency limit."""


class OnFull(StrEnum):
    """What becomes of a run that finds no free slot (the deployment's collision strategy)."""

    ENQUEUE = "ENQUEUE"
    CANCEL_NEW = "CANCEL_NEW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the rules look at beside the proposal."""

    state: State
    now: datetime
    server: tuple[int, int] = (3, 8)
    """Major and minor version."""
    has_infrastructure: bool = False
    has_deployment: bool = True
    limit: int | None = None
    """How many runs of the deployment it lets in at a time; None: any number."""
    holding: int = 0
    """How many of them hold a slot."""
    on_full: OnFull = OnFull.ENQUEUE


def scheduled_time(state: State) -> datetime | None:
    """When the state is due, for scheduled states and those that came from one."""
    value = state.details.get("scheduled_time")
    return None if value is None else datetime.fromisoformat(str(value))


def judge(proposal: Proposal, now: Situation) -> Verdict:
    """The server's answer to ``proposal``; its ``state`` is what the run has from then on."""
    for rule in _FORCED if proposal.force else _RULES:
        verdict = rule(proposal, now)
        if verdict is not None:
            return verdict
    return Accepted(state=_accepted(proposal, now))


def _accepted(proposal: Proposal, now: Situation) -> State:
    details = dict(proposal.details) | {"transition_id": proposal.transition_id}
    if proposal.type is StateType.PENDING and "scheduled_time" in now.state.details:
        inherited = now.state.details["scheduled_time"]
        if now.state.type in (StateType.SCHEDULED, StateType.PENDING):
            details["scheduled_time"] = details.get("scheduled_time") or inherited
    return State(
        type=proposal.type,
        name=proposal.name,
        message=proposal.message,
        details=details,
        data=proposal.data,
    )


def _repeat(proposal: Proposal, now: Situation) -> Verdict | None:
    if now.state.transition_id != proposal.transition_id:
        return None
    return _keep(now, "This run has already made this state transition.")


def _terminal(proposal: Proposal, now: Situation) -> Verdict | None:
    if not now.state.type.is_terminal:
        return None
    if proposal.type in (StateType.CANCELLING, StateType.PAUSED, StateType.CRASHED):
        return _abort(now, f"Run is already in terminal state {now.state.type}.")
    if proposal.type is StateType.SCHEDULED and not now.has_deployment:
        return _abort(now, "Cannot reschedule a run without an associated deployment.")
    return None


def _cancelling(proposal: Proposal, now: Situation) -> Verdict | None:
    stuck = {StateType.CANCELLING}
    if now.server < (3, 2):
        stuck.add(StateType.CANCELLED)
    if now.state.type in stuck and proposal.type is not StateType.CANCELLED:
        return _keep(
            now, "Cannot transition flows that are cancelling to a state other than Cancelled."
        )
    return None


def _nothing_to_end(proposal: Proposal, now: Situation) -> Verdict | None:
    if proposal.type is not StateType.CANCELLING:
        return None
    kind = None
    if now.state.type is StateType.SCHEDULED and (
        not now.has_infrastructure or now.state.name == "Resuming"
    ):
        kind = "Scheduled"
    elif now.state.type is StateType.PAUSED and now.state.details.get("pause_reschedule"):
        kind = "Suspended"
    if kind is None:
        return None
    return Rejected(
        state=State(type=StateType.CANCELLED, name="Cancelled"),
        reason=f"{kind} flow run has no infrastructure to terminate.",
    )


def _pending_twice(proposal: Proposal, now: Situation) -> Verdict | None:
    taken = {StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.CANCELLED}
    if proposal.type is not StateType.PENDING or now.state.type not in taken:
        return None
    renamed = now.state.type is StateType.PENDING and proposal.name not in (
        "Pending",
        now.state.name,
    )
    if renamed and now.server >= (3, 7):
        return None
    return _abort(
        now, f"This run is in a {now.state.type} state and cannot transition to a PENDING state."
    )


def _concurrency(proposal: Proposal, now: Situation) -> Verdict | None:
    if proposal.type is not StateType.PENDING or now.state.type in HOLDS_SLOT:
        return None
    if now.limit == 0:
        return _abort(
            now,
            "The deployment concurrency limit is 0. The flow will deadlock if submitted again.",
        )
    if now.limit is None or now.holding < now.limit:
        return None
    reason = "Deployment concurrency limit reached."
    if now.on_full is OnFull.CANCEL_NEW:
        state = State(type=StateType.CANCELLED, name="Cancelled", message=reason)
    else:
        later = now.now + timedelta(seconds=SLOT_WAIT_SECONDS)
        state = State(
            type=StateType.SCHEDULED,
            name="AwaitingConcurrencySlot",
            details={"scheduled_time": later.isoformat()},
        )
    return Rejected(state=state, reason=reason)


def _pausing(proposal: Proposal, now: Situation) -> Verdict | None:
    if proposal.type is StateType.PAUSED and now.state.type is not StateType.RUNNING:
        verb = "suspend" if proposal.name == "Suspended" else "pause"
        return _keep(now, f"Cannot {verb} flows that are not currently running.")
    if now.state.type is StateType.PAUSED and proposal.type is StateType.PENDING:
        return _keep(
            now,
            "This run cannot transition to the StateType.PENDING state"
            " from the StateType.PAUSED state.",
        )
    return None


def _too_early(proposal: Proposal, now: Situation) -> Verdict | None:
    waiting = now.state.type in (StateType.SCHEDULED, StateType.PENDING)
    due = scheduled_time(now.state)
    if proposal.type is not StateType.RUNNING or not waiting or due is None:
        return None
    delay = math.floor((due - now.now).total_seconds())
    if delay <= 0:
        return None
    return Wait(delay_seconds=delay, reason="Scheduled time is in the future")


def _keep(now: Situation, reason: str) -> Rejected:
    return Rejected(state=now.state, reason=reason)


def _abort(now: Situation, reason: str) -> Aborted:
    return Aborted(state=now.state, reason=reason)


_Rule = Callable[[Proposal, Situation], Verdict | None]

_RULES: Final[tuple[_Rule, ...]] = (
    _repeat,
    _terminal,
    _cancelling,
    _nothing_to_end,
    _pending_twice,
    _concurrency,
    _pausing,
    _too_early,
)
_FORCED: Final[tuple[_Rule, ...]] = (_nothing_to_end,)
