"""What must always hold (ARCHITECTURE.md, "What must always hold"): a named checker per rule.

A checker returns what is wrong, or None. What must be true of the ends of runs is in
``endings.py``.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

from actors.dispatcher.dispatcher import DispatcherView
from actors.domain.errors import StateFolderError
from actors.domain.ids import ClaimKey, claim_of_hooks
from actors.domain.record import Phase, RunRecord
from actors.guardian import Guardian
from actors.process_supervisor.process_supervisor import ProcessSupervisor, SupervisorView
from actors.runtime import ActorKilled, ActorState, AsyncioRef, ChildDidNotStart, dump
from actors.testing.processes import ScriptedProcess
from tests.support.builders import flow_run_id_of

from .bugs import LOSES_HOLD, Surprise
from .life import Killed
from .simulation import Simulation

MAILBOX_BOUND = 12
"""Messages that wait for an actor which dozes for some seconds, beside three for each run."""
SAMPLED_SECONDS = 2.5
START_SECONDS = 12.0
"""How long services may take to start."""
WAITS_BOUND = 12
"""Timers and waits of one actor, beside three for each run in hand."""
SLACK_SECONDS = 45.0
"""How long after the last trouble its traces may be seen: the longest that one effect takes."""
PRINTED_AT_ONCE = 300
PIECES_HELD = 250
"""Pieces of output of a run that wait until its secrets are known, and a few on their way."""


# -- at rest -----------------------------------------------------------------------------------


def spawned_at_most_once_per_claim(sim: Simulation) -> str | None:
    """Invariant 1."""
    if len(sim.keeper.spawned) == len(set(sim.keeper.spawned)):
        return None
    twice = [key for key, count in Counter(sim.keeper.spawned).items() if count > 1]
    return f"spawned more than once: {twice}"


def spawned_only_what_is_ours(sim: Simulation, process: ScriptedProcess) -> str | None:
    """Invariant 1: the server had said Pending to this very claim, and not to a late one."""
    if process.key in sim.truth.revived:
        return f"{process.key} was spawned, but another worker had run it before the claim came"
    if (run_id := flow_run_id_of(process.key)) not in sim.server.runs:
        return None
    claims = (s.transition_id or "" for s in sim.server.runs[run_id].history)
    if any(process.key == f"{run_id}.{claim[:8]}" for claim in claims):
        return None
    return f"{process.key} was spawned without a claim"


def spawned_only_what_is_recorded(sim: Simulation, process: ScriptedProcess) -> str | None:
    """A start is on the disk before it is ordered, unless the disk is full."""
    if process.key in sim.truth.unsaved | sim.truth.forgotten | sim.strays:
        return None
    record = sim.records.records.get(process.key)
    phase = None if record is None else record.phase
    return None if phase is Phase.SPAWNING else f"{process.key} was spawned, recorded as {phase}"


def one_process_per_run(sim: Simulation) -> str | None:
    """Invariant 1, across claims: a flow run is never at work twice."""
    alive = [flow_run_id_of(process.key) for process in _ours_to_watch(sim)]
    return None if len(alive) == len(set(alive)) else f"more than one process each: {alive}"


def never_more_than_the_limit(sim: Simulation) -> str | None:
    """Invariant 2, seen from outside."""
    alive = _ours_to_watch(sim)
    if sim.plan.limit is None or len(alive) <= sim.plan.limit:
        return None
    return f"{len(alive)} processes with a limit of {sim.plan.limit}"


def slots_are_exact(sim: Simulation) -> str | None:
    """Invariant 2: the Dispatcher's table is what the supervisors know, no more and no less."""
    dispatcher = _dispatcher(sim)
    if dispatcher is None or sim.blocked_actors or not dispatcher.keeper_answered:
        return None
    supervisors = {view.key: view for view in _supervisors(sim)}
    in_hand = {info.key: info for info in dispatcher.runs}
    for key, view in supervisors.items():
        if key not in in_hand:
            return f"{key} has a supervisor that the Dispatcher does not know"
        if view.holds_slot != in_hand[key].holds_slot:
            return f"{key} holds a slot: {view.holds_slot}, but not in the Dispatcher's table"
        if (view.phase is Phase.CLAIMING) == in_hand[key].claimed:
            return f"{key} is in phase {view.phase}, but not in the Dispatcher's table"
    for process in _ours_to_watch(sim):
        if (claim_of_hooks(process.key) or process.key) not in in_hand:
            return f"{process.key} is alive and has no supervisor"
    return None


def settled_runs_leave_nothing_alive(sim: Simulation) -> str | None:
    """Invariant 4."""
    for key, process in sim.truth.processes.items():
        record = sim.records.records.get(key)
        if has_lost_hold(sim, key):
            continue
        if record is not None and record.phase is Phase.OVER and not process.gone:
            return f"{key} is settled and something of it is alive"
    return None


def the_worker_lives(sim: Simulation) -> str | None:
    """Invariant 6: no actor fails but by our own hand."""
    for ref in _new_dead(sim):
        failure = ref.failure
        if ref.actor_urn in sim.ended_by_us or failure is None:
            continue
        if isinstance(failure, Surprise) and issubclass(ref.actor_class, ProcessSupervisor):
            continue
        if isinstance(failure, StateFolderError | ChildDidNotStart) and _was_stuck(sim):
            continue
        if not isinstance(failure, ActorKilled | Killed):
            return f"{ref.actor_class.__name__} failed: {failure!r}"
    return None


def mailboxes_are_bounded(sim: Simulation) -> str | None:
    """Invariant 7."""
    if sim.wiring is None or sim.life.over:
        return None
    known = _dispatcher(sim)  # it may know of runs that have ended while it dozed
    runs = max(sum(1 for _ in _supervisors(sim)), 0 if known is None else len(known.runs))
    for report in dump(sim.wiring.directory):
        if report.state is ActorState.STOPPING:
            continue
        name, size, waiting = report.actor_class, report.mailbox, report.waits + report.timers
        # while the Guardian waits for a service to start, others may ask it for the stage
        waits_for_service = name == Guardian.__name__ and report.state is ActorState.WAITING
        starts = report.state is ActorState.STARTING or waits_for_service
        if size > 1 and not sim.blocked_actors and not starts:
            return f"{name} has {size} messages waiting"
        if size > MAILBOX_BOUND + 3 * runs + _printed(sim, report.view):
            return f"{name} has {size} messages waiting, with {runs} runs"
        if waiting > WAITS_BOUND + 3 * runs:
            return f"{name} waits for {waiting} things, with {runs} runs"
    return None


def output_is_not_kept(sim: Simulation) -> str | None:
    """Invariant 7: what runs print goes through the worker and does not stay there."""
    if sim.life.lines <= PIECES_HELD or not sim.is_undisturbed(SLACK_SECONDS):
        return None  # what comes before the keeper has answered is put on hold
    runs = sum(1 for _ in _supervisors(sim))
    if sim.life.lines <= PIECES_HELD * runs:
        return None
    # The traceback of what has ended a supervisor refers to what it held, until the next one.
    dispatcher = _dispatcher(sim)
    runs = max(runs, 0 if dispatcher is None else len(dispatcher.runs))
    gc.collect()
    if sim.life.lines <= (PIECES_HELD + PRINTED_AT_ONCE) * runs:
        return None
    return f"{sim.life.lines} lines of output are held for {runs} runs"


def nothing_is_signalled_after_a_reboot(sim: Simulation) -> str | None:
    """Invariant 8."""
    for process in sim.keeper.processes.values():
        if has_lost_hold(sim, process.key):
            continue  # the keeper, which knows better, does nothing then
        if process.rebooted and process.signals_after_end:
            return f"{process.key} was signalled after the machine was restarted"
    return None


# -- at each record ------------------------------------------------------------------------------


def nothing_is_claimed_without_memory(sim: Simulation, record: RunRecord) -> str | None:
    """The intake pauses: two seconds are between samples."""
    short_since = sim.truth.short_since
    is_claim = record.phase is Phase.CLAIMING and record.key not in sim.truth.saved
    if short_since is None or not sim.plan.measures or not is_claim:
        return None
    known = max(short_since, sim.truth.disturbed_at) + SAMPLED_SECONDS
    now = sim.clock.monotonic()
    return f"a claim although memory is short since {short_since}" if now > known else None


# -- looking into the simulation ---------------------------------------------------------------


def has_lost_hold(sim: Simulation, key: ClaimKey) -> bool:
    """Whether the worker may have given the run up, so that it ends when the keeper ends it."""
    return sim.bugs.has(flow_run_id_of(key), LOSES_HOLD)


def _ours_to_watch(sim: Simulation) -> list[ScriptedProcess]:
    return [
        process
        for process in sim.keeper.alive()
        if not has_lost_hold(sim, process.key) and not _are_stray_hooks(sim, process.key)
    ]


def _are_stray_hooks(sim: Simulation, key: ClaimKey) -> bool:
    """Whether nobody may know these hooks: their claim's record was lost, or a bug was met."""
    claim = claim_of_hooks(key)
    if claim is None:
        return False
    has_bugs = sim.plan.surprises > 0 or sim.bugs.of(flow_run_id_of(key)) is not None
    return has_bugs or claim in sim.strays or claim in sim.truth.forgotten


def views(sim: Simulation) -> Iterator[object]:
    """What the living actors show of themselves."""
    if sim.wiring is not None and not sim.life.over:
        yield from (ref.inspect() for _, ref in sim.wiring.directory if ref.is_alive())


def _supervisors(sim: Simulation) -> Iterator[SupervisorView]:
    return (view for view in views(sim) if isinstance(view, SupervisorView))


def _dispatcher(sim: Simulation) -> DispatcherView | None:
    return next((view for view in views(sim) if isinstance(view, DispatcherView)), None)


def _was_stuck(sim: Simulation) -> bool:
    """Whether the disk has just been stuck for longer than a start may take."""
    return sim.truth.stuck_at > sim.clock.monotonic() - START_SECONDS


def _new_dead(sim: Simulation) -> Iterator[AsyncioRef]:
    """Actors that ended since the last look."""
    if sim.wiring is not None:
        sim.known_refs.update({ref.actor_urn: ref for _, ref in sim.wiring.directory})
    for urn, ref in list(sim.known_refs.items()):
        if ref.has_ended:
            del sim.known_refs[urn]
            yield ref


def _printed(sim: Simulation, view: object) -> int:
    """How many messages with output the run of a blocked supervisor may have sent it."""
    if not isinstance(view, SupervisorView):
        return 0
    process = sim.truth.processes.get(view.key)
    return 0 if process is None else len(process.facts)
