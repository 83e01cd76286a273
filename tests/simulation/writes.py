"""What the worker may write at the server (ARCHITECTURE.md, "What must always hold")."""

from __future__ import annotations

from actors.domain.ids import TransitionId, claim_key
from actors.domain.model import StateType
from actors.process_supervisor.machine.proposals import is_pending_by, is_submitting

from .server import Write, is_claim
from .simulation import Simulation


def no_end_is_overwritten(sim: Simulation, write: Write) -> str | None:
    """Invariant 3, first sentence."""
    if _is_not_to_blame(write) or not write.before.type.is_terminal:
        return None
    if write.proposal.force and write.before.type is StateType.CRASHED:
        return None  # judged by force_only_where_allowed
    return f"the worker put {write.after.name} over {write.before.name}"


def claimed_only_what_is_recorded(sim: Simulation, write: Write) -> str | None:
    """A claim is on the disk before it is made, unless the disk is full."""
    if write.author != "worker" or not is_claim(write.proposal):
        return None
    key = claim_key(write.run_id, write.proposal.transition_id)
    if key in sim.records.records or key in sim.truth.unsaved or key in sim.strays:
        return None
    return f"{key} was claimed without a record"


def submitting_follows_our_claim(sim: Simulation, write: Write) -> str | None:
    """A server takes Submitting over nearly everything, so nobody else's state may be there."""
    if _is_not_to_blame(write) or not is_submitting(write.proposal):
        return None
    claim = write.before.transition_id
    if claim is None or not is_pending_by(TransitionId(claim), write.after):
        return f"the worker put Submitting over {write.before.name}, which is not its claim"
    if claim_key(write.run_id, claim) in sim.truth.processes:
        return f"the worker put Submitting over {write.before.name} after its process was started"
    return None


def force_only_where_allowed(sim: Simulation, write: Write) -> str | None:
    """Invariant 3: over Cancelling, or over the Crashed that our own cancel caused."""
    if _is_not_to_blame(write) or not write.proposal.force:
        return None
    if write.before.type is StateType.CANCELLING:
        return None
    history = sim.server.runs[write.run_id].history
    cancelled = any(state.type is StateType.CANCELLING for state in history)
    if write.before.type is StateType.CRASHED and cancelled:
        return None
    return f"Cancelled was forced over {write.before.name}"


def a_transition_is_made_once(sim: Simulation, write: Write) -> str | None:
    """Invariant 5: one transition id per logical transition, and one state for it."""
    if write.author != "worker" or write.proposal.force or write.late:
        return None
    if sim.truth.late.get(write.run_id) == write.before.id:
        return None  # what somebody overwrote that could not be called back is said again
    transition = write.proposal.transition_id
    ids = [state.transition_id for state in sim.server.runs[write.run_id].history]
    return None if ids.count(transition) < 2 else f"{transition} was made twice"


def _is_not_to_blame(write: Write) -> bool:
    return write.author != "worker" or write.crossed or write.late
