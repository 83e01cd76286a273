"""What is true when no trouble is left: every run is over, or waits for a reason that counts."""

from __future__ import annotations

from actors.domain.ids import FlowRunId, flow_run_id_of
from actors.domain.model import StateType
from actors.testing.prefect_records import Run

from .bugs import UNREPORTED
from .house import House
from .worker import HOST, POOL

CANNOT_END = frozenset({"end_tree"})

LONG_ENOUGH_SECONDS = 60.0
"""A run due for so long has been polled, and refused only by the server's own limits."""


def calm_down(house: House) -> None:
    """The end of all that plagued the house; the skies clear by themselves."""
    house.trace.say("act", "calm")
    house.kill_points.clear()
    house.records.full = False
    house.disk.stuck, house.disk.stick = False, lambda phase: None
    house.road.away = False
    house.road.loss = 0.0
    house.measure.failure = None
    house.measure.host_percent = 10.0
    house.truth.short_since = None
    house.server.pause_pool(POOL, paused=False)


def end_what_sleeps(house: House) -> None:
    """A user cancels whatever would go on for ever."""
    for process in house.keeper.alive():
        run_id = flow_run_id_of(process.key)
        run = house.server.runs.get(run_id)
        if not _sleeps(house, run_id):
            continue
        if run is not None and run.state.type in (StateType.PENDING, StateType.RUNNING):
            house.server.cancel(run_id)
        else:
            process.end(0)  # deleted, or forced into a state by somebody: nothing more to order


def what_is_unsettled(house: House, *, sleeping: bool) -> str | None:
    """The first thing that is not as it must be; processes may go on if ``sleeping`` is right."""
    for process in house.processes:
        if process.gone or _waits_to_be_mended(house, flow_run_id_of(process.key), CANNOT_END):
            continue
        if not (sleeping and _sleeps(house, flow_run_id_of(process.key))):
            return f"{process.key} is alive"
    for run_id, run in house.server.runs.items():
        state = run.state.type
        if sleeping and _sleeps(house, run_id):
            continue
        if not state.is_terminal and not _may_stay(house, run_id, run):
            return f"{run.run.name} ({run_id}) is {run.state.name}"
    return None


def what_is_left_behind(house: House) -> str | None:
    """What the worker, its journal or the keeper still hold although every run is over."""
    if records := house.records.unsettled:
        return f"{records[0].key} is not settled: {records[0].phase}"
    if left := house.keeper.processes.keys():
        return f"the keeper still has {sorted(left)}"
    return what_is_in_hand(house)


def what_is_in_hand(house: House) -> str | None:
    """The runs that the worker is at work on."""
    held = [name for name, _ in house.wiring.directory if "/" in name] if house.wiring else []
    return f"{held} still have supervisors" if held else None


def _sleeps(house: House, run_id: FlowRunId) -> bool:
    """Whether it is at work and never ends by itself, and nobody wants it to."""
    run = house.server.runs.get(run_id)
    if run is not None and run.state.type is StateType.CANCELLING:
        return False
    alive = any(flow_run_id_of(p.key) == run_id for p in house.keeper.alive())
    return alive and house.programs[run_id].outcome == "sleeps"


def _may_stay(house: House, run_id: FlowRunId, run: Run) -> bool:
    program = house.programs[run_id]
    if house.truth.late.get(run_id) == run.state.id:
        return True  # written by a request that nobody could call back
    if _waits_to_be_mended(house, run_id, UNREPORTED):
        return True
    match run.state.type:
        case StateType.PENDING:
            # A command that reports nothing leaves its run Pending (contract 7.5).
            silent = program.sort == "plain" and _ended_well(house, run_id)
            return silent or _nobody_can_know(house, run_id)
        case StateType.SCHEDULED:
            return _limit_is_reached(house) or _refused_for_good(house, run)
        case StateType.CANCELLING:
            # A pid that only the server knows, and that somebody else has by now: left alone.
            where = run.run.infrastructure_pid or ""
            return any(where == f"{HOST}:{p.identity.pid}" for p in house.keeper.alive())
        case _:
            return False


def _waits_to_be_mended(house: House, run_id: FlowRunId, bugs: frozenset[str]) -> bool:
    """Whether the worker has let go of it, because a bug does not let it do more."""
    return not house.bugs.mended and house.bugs.has(run_id, bugs)


def _nobody_can_know(house: House, run_id: FlowRunId) -> bool:
    """It was claimed, and both its record and its process are lost or never were."""
    names = [name for name, _ in house.wiring.directory] if house.wiring else []
    if any(run_id in name for name in names):
        return False
    lost = any(flow_run_id_of(key) == run_id for key in house.strays)
    return lost or run_id in house.unrecorded


def _ended_well(house: House, run_id: FlowRunId) -> bool:
    mine = [p for p in house.processes if flow_run_id_of(p.key) == run_id]
    return bool(mine) and mine[-1].exit is not None and mine[-1].exit.code == 0


def _limit_is_reached(house: House) -> bool:
    """By runs that go on for ever."""
    limit = house.plan.limit
    return limit is not None and len(house.keeper.alive()) >= limit


def _refused_for_good(house: House, run: Run) -> bool:
    """Its deployment's limit is 0, or taken by runs that stay for ever themselves."""
    deployment_id = run.run.deployment_id
    if deployment_id is None:
        return False
    limit = house.server.limits.get(deployment_id)
    if limit is None:
        return False
    others = [
        r
        for r in house.server.runs.values()
        if r.run.deployment_id == deployment_id
        and r.state.type in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
    ]
    return len(others) >= limit
