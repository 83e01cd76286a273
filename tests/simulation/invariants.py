"""What must always hold (ARCHITECTURE.md, "What must always hold"): a named checker per rule.

A checker returns what is wrong, or None. Those of ``AT_REST`` are asked each time everything that
can happen at a moment has happened, those of ``ON_WRITE`` at each new state at the server.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from actors.dispatcher import Dispatcher
from actors.domain.ids import FlowRunId, flow_run_id_of
from actors.domain.model import StateType
from actors.domain.record import Phase
from actors.process_supervisor import ProcessSupervisor
from actors.runtime import ActorKilled, AsyncioActor, AsyncioRef
from actors.testing.processes import ScriptedProcess

from .house import House
from .life import Killed
from .server import Write

MAILBOX_BOUND = 50
_SAID_ZERO = re.compile("cleanly|exited with code 0")
WAITS_BOUND = 60
"""Timers and waits of one actor: a few for each run in hand."""


# -- at rest -----------------------------------------------------------------------------------


def spawned_at_most_once_per_claim(house: House) -> str | None:
    """Invariant 1."""
    if len(house.keeper.spawned) == len(set(house.keeper.spawned)):
        return None
    twice = [key for key, count in Counter(house.keeper.spawned).items() if count > 1]
    return f"spawned more than once: {twice}"


def spawned_only_what_is_ours(house: House) -> str | None:
    """Invariant 1: the server had said Pending to this very claim."""
    process = house.processes[-1] if house.processes else None
    if process is None or (run_id := flow_run_id_of(process.key)) not in house.server.runs:
        return None
    claims = (s.transition_id or "" for s in house.server.runs[run_id].history)
    if any(process.key == f"{run_id}.{claim[:8]}" for claim in claims):
        return None
    return f"{process.key} was spawned without a claim"


def one_process_per_run(house: House) -> str | None:
    """Invariant 1, across claims: a flow run is never at work twice."""
    alive = [flow_run_id_of(process.key) for process in house.keeper.alive()]
    return None if len(alive) == len(set(alive)) else f"more than one process each: {alive}"


def never_more_than_the_limit(house: House) -> str | None:
    """Invariant 2, seen from outside."""
    alive = house.keeper.alive()
    if house.plan.limit is None or len(alive) <= house.plan.limit:
        return None
    return f"{len(alive)} processes with a limit of {house.plan.limit}"


def slots_are_exact(house: House) -> str | None:
    """Invariant 2: the Dispatcher's table is what the supervisors know, no more and no less."""
    dispatcher = _dispatcher(house)
    if dispatcher is None or house.dozing or not dispatcher._keeper_asked:
        return None
    supervisors = {s._run.record.key: s._run for s in _supervisors(house)}
    in_hand = {held.situation.key: held.situation for held in dispatcher._runs}
    for key, run in supervisors.items():
        if key not in in_hand:
            return f"{key} has a supervisor that the Dispatcher does not know"
        if run.holds_slot != in_hand[key].holds_slot:
            return f"{key} holds a slot: {run.holds_slot}, but not in the Dispatcher's table"
        if run.is_claiming == in_hand[key].claimed:
            return f"{key} is claiming: {run.is_claiming}, but not in the Dispatcher's table"
    for process in house.keeper.alive():
        if process.key not in in_hand:
            return f"{process.key} is alive and in nobody's hands"
    return None


def settled_runs_leave_nothing_alive(house: House) -> str | None:
    """Invariant 4."""
    for key, process in house.keeper.processes.items():
        record = house.disk.records.get(key)
        if record is not None and record.phase is Phase.OVER and not process.gone:
            return f"{key} is settled and something of it is alive"
    return None


def the_worker_lives(house: House) -> str | None:
    """Invariant 6: no actor fails but by our own hand."""
    for ref in _new_dead(house):
        failure = ref.failure
        if ref.actor_urn in house.ended_by_us or failure is None:
            continue
        if not isinstance(failure, ActorKilled | Killed):
            return f"{ref.actor_class.__name__} failed: {failure!r}"
    return None


def mailboxes_are_bounded(house: House) -> str | None:
    """Invariant 7."""
    for actor in _actors(house):
        waiting = len(actor._actor_waits) + len(actor._actor_timers)
        if (size := actor.actor_inbox.qsize()) > (MAILBOX_BOUND if house.dozing else 1):
            return f"{type(actor).__name__} has {size} messages waiting"
        if waiting > WAITS_BOUND:
            return f"{type(actor).__name__} waits for {waiting} things"
    return None


def only_what_must_end_is_signalled(house: House) -> str | None:
    """Invariant 8: no signal after a reboot, nor one without a reason."""
    for process in house.keeper.processes.values():
        if process.rebooted and process.signals_after_end:
            return f"{process.key} was signalled after the machine was restarted"
        if process.signals and not _has_a_reason(house, process):
            return f"{process.key} was signalled for no reason"
    return None


# -- at each write -------------------------------------------------------------------------------


def no_end_is_overwritten(house: House, write: Write) -> str | None:
    """Invariant 3, first sentence."""
    if write.author != "worker" or not write.before.type.is_terminal or write.crossed:
        return None
    if write.proposal.force and write.before.type is StateType.CRASHED:
        return None  # judged by force_only_where_allowed
    return f"the worker put {write.after.name} over {write.before.name}"


def force_only_where_allowed(house: House, write: Write) -> str | None:
    """Invariant 3: over Cancelling, or over the Crashed that our own cancel caused."""
    if write.author != "worker" or not write.proposal.force or write.crossed:
        return None
    if write.before.type is StateType.CANCELLING:
        return None
    history = house.server.runs[write.run_id].history
    cancelled = any(state.type is StateType.CANCELLING for state in history)
    if write.before.type is StateType.CRASHED and cancelled:
        return None
    return f"Cancelled was forced over {write.before.name}"


def a_transition_is_made_once(house: House, write: Write) -> str | None:
    """Invariant 5: one transition id per logical transition, and one state for it."""
    if write.author != "worker" or write.proposal.force:
        return None
    transition = write.proposal.transition_id
    ids = [state.transition_id for state in house.server.runs[write.run_id].history]
    return None if ids.count(transition) < 2 else f"{transition} was made twice"


def exits_are_told_as_they_were(house: House, write: Write) -> str | None:
    """Invariant 5: a code is not guessed, and a known one not called lost."""
    process = _last_process(house, write.run_id)
    message = write.after.message or ""
    if write.author != "worker" or write.after.type is not StateType.CRASHED or process is None:
        return None
    if process.exit is None:
        return f"{process.key} was called crashed alive"
    known = process.exit.code is not None
    if known and not write.before.type.is_terminal and "nobody was there to receive" in message:
        return f"{process.key} exited with {process.exit.code}, which was called lost"
    if process.exit.code == 0 and not process.signals and not _SAID_ZERO.search(message):
        return f"{process.key} exited with 0 and was called crashed: {message}"
    return None


AtRest = Callable[[House], str | None]
OnWrite = Callable[[House, Write], str | None]

AT_REST: tuple[AtRest, ...] = (
    spawned_at_most_once_per_claim,
    spawned_only_what_is_ours,
    one_process_per_run,
    never_more_than_the_limit,
    slots_are_exact,
    settled_runs_leave_nothing_alive,
    the_worker_lives,
    mailboxes_are_bounded,
    only_what_must_end_is_signalled,
)
ON_WRITE: tuple[OnWrite, ...] = (
    no_end_is_overwritten,
    force_only_where_allowed,
    a_transition_is_made_once,
    exits_are_told_as_they_were,
)


# -- looking into the house ----------------------------------------------------------------------


def _actors(house: House) -> Iterator[AsyncioActor]:
    if house.wiring is None or house.life.over:
        return
    for _, ref in house.wiring.directory:
        actor = ref._actor_weakref()
        if actor is not None and ref.is_alive():
            yield actor


def _supervisors(house: House) -> Iterator[ProcessSupervisor]:
    return (actor for actor in _actors(house) if isinstance(actor, ProcessSupervisor))


def _dispatcher(house: House) -> Dispatcher | None:
    """The Dispatcher, where it is through with its start."""
    for actor in _actors(house):
        if isinstance(actor, Dispatcher) and actor._actor_life.is_up:
            return actor
    return None


def _new_dead(house: House) -> Iterator[AsyncioRef]:
    """Actors that ended since the last look."""
    if house.wiring is not None:
        house.known_refs.update({ref.actor_urn: ref for _, ref in house.wiring.directory})
    for urn, ref in list(house.known_refs.items()):
        if ref.has_ended:
            del house.known_refs[urn]
            yield ref


def _last_process(house: House, run_id: FlowRunId) -> ScriptedProcess | None:
    mine = [p for p in house.processes if flow_run_id_of(p.key) == run_id]
    return mine[-1] if mine else None


def _has_a_reason(house: House, process: ScriptedProcess) -> bool:
    run_id = flow_run_id_of(process.key)
    run = house.server.runs.get(run_id)
    if run is None or house.has_drained:
        return True
    if "timeout_seconds" in run.run.job_variables:
        return True
    return any(state.type is StateType.CANCELLING for state in run.history)
