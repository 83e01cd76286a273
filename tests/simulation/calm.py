"""After the faults: every run is over, or waits for a reason that counts."""

from __future__ import annotations

from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.testing.world_items import Run
from tests.support.builders import flow_run_id_of

from .bugs import UNREPORTED
from .simulation import Simulation
from .worker import HOST, POOL

CANNOT_END = frozenset({"end_tree"})

LONG_ENOUGH_SECONDS = 60.0
"""A run due for so long has been polled, and refused only by the server's own limits."""


def calm_down(sim: Simulation) -> None:
    """End all faults but those of the network, which end by themselves."""
    sim.trace.say("act", "calm")
    sim.kill_points.clear()
    sim.records.full = False
    sim.disk.stuck, sim.disk.stick = False, lambda phase: None
    sim.keeper_link.away = False
    sim.keeper_link.loss = 0.0
    sim.measure.failure = None
    sim.measure.host_percent = 10.0
    sim.truth.short_since = None
    sim.server.pause_pool(POOL, paused=False)


def end_what_sleeps(sim: Simulation) -> None:
    """A user cancels whatever would go on for ever."""
    for process in sim.keeper.alive():
        run_id = flow_run_id_of(process.key)
        run = sim.server.runs.get(run_id)
        if not _sleeps(sim, run_id):
            continue
        if run is not None and run.state.type in (StateType.PENDING, StateType.RUNNING):
            sim.server.cancel(run_id)
        else:
            process.end(0)  # deleted, or forced into a state by somebody: nothing more to order


def what_is_unsettled(sim: Simulation, *, sleeping: bool) -> str | None:
    """The first thing that is not as it must be; processes may go on if ``sleeping`` is right."""
    for process in sim.processes:
        if process.gone or _waits_to_be_mended(sim, flow_run_id_of(process.key), CANNOT_END):
            continue
        if not (sleeping and _sleeps(sim, flow_run_id_of(process.key))):
            return f"{process.key} is alive"
    for run_id, run in sim.server.runs.items():
        state = run.state.type
        if sleeping and _sleeps(sim, run_id):
            continue
        if not state.is_terminal and not _may_stay(sim, run_id, run):
            return f"{run.run.name} ({run_id}) is {run.state.name}"
    return None


def what_is_left_behind(sim: Simulation) -> str | None:
    """What the worker, its journal or the keeper still hold although every run is over."""
    if records := sim.records.unsettled:
        return f"{records[0].key} is not settled: {records[0].phase}"
    if left := sim.keeper.processes.keys():
        return f"the keeper still has {sorted(left)}"
    return what_is_in_hand(sim)


def what_is_in_hand(sim: Simulation) -> str | None:
    """The runs that the worker is at work on."""
    held = [name for name, _ in sim.wiring.directory if "/" in name] if sim.wiring else []
    return f"{held} still have supervisors" if held else None


def _sleeps(sim: Simulation, run_id: FlowRunId) -> bool:
    """Whether it is at work and never ends by itself, and nobody wants it to."""
    run = sim.server.runs.get(run_id)
    if run is not None and run.state.type is StateType.CANCELLING:
        return False
    alive = any(flow_run_id_of(p.key) == run_id for p in sim.keeper.alive())
    return alive and sim.programs[run_id].outcome == "sleeps"


def _may_stay(sim: Simulation, run_id: FlowRunId, run: Run) -> bool:
    program = sim.programs[run_id]
    if sim.truth.late.get(run_id) == run.state.id:
        return True  # written by a request that nobody could call back
    if _waits_to_be_mended(sim, run_id, UNREPORTED):
        return True
    match run.state.type:
        case StateType.PENDING:
            # A command that reports nothing leaves its run Pending.
            silent = program.sort == "plain" and _ended_well(sim, run_id)
            return silent or _nobody_can_know(sim, run_id)
        case StateType.SCHEDULED:
            return _limit_is_reached(sim) or _refused_for_good(sim, run)
        case StateType.CANCELLING:
            # A pid that only the server knows, and that somebody else has by now: left alone.
            where = run.run.infrastructure_pid or ""
            return any(where == f"{HOST}:{p.identity.pid}" for p in sim.keeper.alive())
        case _:
            return False


def _waits_to_be_mended(sim: Simulation, run_id: FlowRunId, bugs: frozenset[str]) -> bool:
    """Whether the worker has let go of it, because a bug does not let it do more."""
    return not sim.bugs.mended and sim.bugs.has(run_id, bugs)


def _nobody_can_know(sim: Simulation, run_id: FlowRunId) -> bool:
    """It was claimed, and both its record and its process are lost or never were."""
    names = [name for name, _ in sim.wiring.directory] if sim.wiring else []
    if any(run_id in name for name in names):
        return False
    lost = any(flow_run_id_of(key) == run_id for key in sim.strays)
    return lost or run_id in sim.unrecorded


def _ended_well(sim: Simulation, run_id: FlowRunId) -> bool:
    mine = [p for p in sim.processes if flow_run_id_of(p.key) == run_id]
    return bool(mine) and mine[-1].exit is not None and mine[-1].exit.code == 0


def _limit_is_reached(sim: Simulation) -> bool:
    """By runs that go on for ever."""
    limit = sim.plan.limit
    return limit is not None and len(sim.keeper.alive()) >= limit


def _refused_for_good(sim: Simulation, run: Run) -> bool:
    """Its deployment's limit is 0, or taken by runs that stay for ever themselves."""
    deployment_id = run.run.deployment_id
    if deployment_id is None:
        return False
    limit = sim.server.limits.get(deployment_id)
    if limit is None:
        return False
    others = [
        r
        for r in sim.server.runs.values()
        if r.run.deployment_id == deployment_id
        and r.state.type in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
    ]
    return len(others) >= limit
