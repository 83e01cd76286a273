"""What is true when no trouble is left: every run is over, or waits for a reason that counts."""

from __future__ import annotations

from actors.domain.ids import FlowRunId, flow_run_id_of
from actors.domain.model import StateType
from actors.testing.prefect_records import Run

from .house import POOL, House

LONG_ENOUGH_SECONDS = 60.0
"""A run due for so long has been polled, and refused only by the server's own limits."""


def calm_down(house: House) -> None:
    """The end of all that plagued the house; the skies clear by themselves."""
    house.trace.say("act", "calm")
    house.kill_points.clear()
    house.disk.full = False
    house.road.away = False
    house.road.loss = 0.0
    house.server.pause_pool(POOL, paused=False)
    for process in house.keeper.alive():
        if process.key in house.strays:
            process.end(-9)


def end_everything(house: House) -> None:
    """A user cancels whatever would go on for ever."""
    house.trace.say("act", "end everything")
    for run_id, run in house.server.runs.items():
        if run.state.type is StateType.RUNNING:
            house.server.cancel(run_id)
    for process in house.keeper.alive():
        if flow_run_id_of(process.key) not in house.server.runs:
            process.end(0)  # of a deleted run, which nobody can cancel


def what_is_unsettled(house: House, *, sleeping: bool) -> str | None:
    """The first thing that is not as it must be; processes may go on if ``sleeping`` is right."""
    for process in house.processes:
        if process.gone or process.key in house.strays:
            continue
        if not (sleeping and _sleeps(house, flow_run_id_of(process.key))):
            return f"{process.key} is alive"
    for run_id, run in house.server.runs.items():
        state = run.state.type
        if sleeping and _sleeps(house, run_id):
            continue
        if not state.is_terminal and not _may_stay(house, run_id, run):
            return f"{run.run.name} ({run_id}) is {run.state.name}"
    if not sleeping:
        if records := house.disk.open_records():
            return f"{records[0].key} is not settled: {records[0].phase}"
        if house.keeper.processes.keys() - house.strays:
            return f"the keeper still has {list(house.keeper.processes)}"
    return None


def _sleeps(house: House, run_id: FlowRunId) -> bool:
    """Whether it is at work and never ends by itself, or is as good as that."""
    run = house.server.runs.get(run_id)
    if run is not None and run.state.type is not StateType.RUNNING:
        return False
    alive = any(flow_run_id_of(p.key) == run_id for p in house.keeper.alive())
    return alive and house.programs[run_id].outcome == "sleeps"


def _may_stay(house: House, run_id: FlowRunId, run: Run) -> bool:
    program = house.programs[run_id]
    match run.state.type:
        case StateType.PENDING:
            # A command that reports nothing leaves its run Pending (contract 7.5).
            return program.sort == "plain" and _ended_well(house, run_id)
        case StateType.SCHEDULED:
            return _refused_for_good(house, run)
        case _:
            return False


def _ended_well(house: House, run_id: FlowRunId) -> bool:
    mine = [p for p in house.processes if flow_run_id_of(p.key) == run_id]
    return bool(mine) and mine[-1].exit is not None and mine[-1].exit.code == 0


def _refused_for_good(house: House, run: Run) -> bool:
    """Its deployment's limit is 0, or taken by runs that stay for ever themselves."""
    deployment_id = run.run.deployment_id
    if deployment_id is None:
        return False
    deployment = house.server.deployments.get(deployment_id)
    limit = None if deployment is None else deployment.concurrency_limit
    if limit is None:
        return False
    others = [
        r
        for r in house.server.runs.values()
        if r.run.deployment_id == deployment_id
        and r.state.type in (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
    ]
    return len(others) >= limit
