"""What must be true of the hooks of flows whose engine is gone."""

from __future__ import annotations

from actors.domain.ids import ClaimKey, claim_of_hooks
from actors.domain.model import StateType
from actors.testing.processes import ScriptedProcess
from tests.support.builders import flow_run_id_of

from .endings import is_forgotten, is_of_later_claim, last_process
from .invariants import SLACK_SECONDS, has_lost_hold
from .programs import HOOKS_SECONDS
from .server import Write
from .simulation import Simulation


def note_our_crash(sim: Simulation, write: Write) -> str | None:
    """The server has taken our Crashed of a run that had a process."""
    if write.author != "worker" or write.after.type is not StateType.CRASHED:
        return None
    process = last_process(sim, write.run_id)
    if process is not None and not is_of_later_claim(sim, write, process):
        sim.truth.crashed_by_us[process.key] = write.after
    return None


def hooks_follow_our_end(sim: Simulation, hooks: ScriptedProcess, claim: ClaimKey) -> str | None:
    """Never for a run that another has ended, nor for one whose engine was through with it."""
    run = sim.truth.processes.get(claim)
    if run is None or is_forgotten(sim, claim) or has_lost_hold(sim, claim):
        return None
    if run.exit is None:
        return f"{hooks.key} runs before its engine is gone"
    if run.exit.reported is not None or run.exit.code == 0:
        return f"{hooks.key} runs after an engine that ended well"
    if claim in sim.truth.crashed_by_us or flow_run_id_of(claim) in sim.truth.cancelled:
        return None
    return f"{hooks.key} runs although another has ended the run"


def hooks_end_in_time(sim: Simulation) -> str | None:
    """They hold a slot."""
    longest = HOOKS_SECONDS + 10.0 + SLACK_SECONDS
    for process in sim.keeper.alive():
        claim = claim_of_hooks(process.key)
        if claim is None or is_forgotten(sim, claim) or has_lost_hold(sim, claim):
            continue
        lasted = sim.clock.monotonic() - process.started_at
        if lasted > longest and sim.is_undisturbed(longest):
            return f"{process.key} lasts for {lasted} s"
    return None


def hooks_run_after_each_crash(sim: Simulation) -> str | None:
    """Unless the run has gone on since, or what the hooks need could not be had."""
    rates = sim.plan.fault_rates
    refuses = rates.garbled or {"unauthorized", "forbidden"} & {
        kind for _, _, kind in rates.outages
    }
    if refuses or sim.plan.surprises:
        return None
    for key, crash in sim.truth.crashed_by_us.items():
        run_id = flow_run_id_of(key)
        process, run = sim.truth.processes[key], sim.server.runs.get(run_id)
        if run is None or run.state.id != crash.id or sim.truth.late.get(run_id) == crash.id:
            continue
        if sim.bugs.of(run_id) is not None:
            continue
        deployment = run.run.deployment_id
        if deployment is not None and deployment not in sim.server.deployments:
            continue
        if is_forgotten(sim, key) or sim.programs[run_id].sort != "engine":
            continue
        if process.exit is not None and process.exit.code != 0 and key not in sim.truth.hooks:
            return f"{key} is Crashed by us, and its hooks did not run"
    return None
