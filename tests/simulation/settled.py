"""What must be true when everything is settled: each exit told, each wish heeded, no end lost."""

from __future__ import annotations

from collections import Counter

from actors.domain.ids import FlowRunId, claim_key
from actors.domain.model import State, StateType
from tests.support.builders import flow_run_id_of

from .endings import is_forgotten
from .invariants import has_lost_hold
from .simulation import Simulation


def each_exit_is_an_event(sim: Simulation) -> str | None:
    """Once at least, unless it was lost with its outbox, and by one id; with its exit code."""
    ids = _events_of_exits(sim)
    told = {run_id: {event for event, _ in events} for run_id, events in ids.items()}
    for run_id, events in ids.items():
        wrong = {code for _, code in events if code is not None} - _codes(sim, run_id)
        if wrong:
            return f"{run_id} is said to have exited with {wrong}"
    due = Counter(
        flow_run_id_of(process.key)
        for process in sim.processes
        if sim.truth.events_lost_at < (process.ended_at or 0.0) - 10.0
        and not is_forgotten(sim, process.key)
        and not has_lost_hold(sim, process.key)
    )
    for run_id, count in due.items():
        if len(told.get(run_id, ())) < count:
            return f"{count} exits of {run_id}, and {len(told.get(run_id, ()))} events"
    for run_id, several in told.items():
        keys = [p.key for p in sim.processes if flow_run_id_of(p.key) == run_id]
        if len(several) > len(keys) and not any(is_forgotten(sim, key) for key in keys):
            return f"{len(several)} events of {len(keys)} exits of {run_id}"
    return None


def _events_of_exits(sim: Simulation) -> dict[FlowRunId, set[tuple[str, str | None]]]:
    """By flow run: id and exit code. Of a run whose record was lost only the process is known."""
    found: dict[FlowRunId, set[tuple[str, str | None]]] = {}
    for event in sim.server.events:
        if event.event != "prefect.worker.executed-flow-run":
            continue
        for resource in event.related:
            if resource["prefect.resource.role"] == "flow-run":
                name = resource["prefect.resource.id"].removeprefix("prefect.flow-run.")
                code = resource.get("prefect.infrastructure.status-code")
                found.setdefault(FlowRunId(name), set()).add((event.id, code))
    return found


def a_cancelled_run_ends_cancelled(sim: Simulation) -> str | None:
    """Unless somebody else has had the last word."""
    for run_id, run in sim.server.runs.items():
        asked = [n for n, s in enumerate(run.history) if s.type is StateType.CANCELLING]
        if not asked or run.state.type is StateType.CANCELLED:
            continue
        since = run.history[asked[-1] + 1 :]
        if not any(_is_of_others(sim, run_id, state) for state in since):
            return f"{run.run.name} ({run_id}) was to be cancelled and is {run.state.name}"
    return None


def an_end_that_was_overwritten_is_put_back(sim: Simulation) -> str | None:
    """Unless the run has gone on since, or the claim was forgotten with its worker."""
    for key, end in sim.truth.revived.items():
        run_id = flow_run_id_of(key)
        run = sim.server.runs.get(run_id)
        if run is None or run.state.type is end.type or is_forgotten(sim, key):
            continue
        if sim.bugs.has(run_id, frozenset({"history"})):
            continue
        ours = [
            s for s in run.history if s.transition_id and claim_key(run_id, s.transition_id) == key
        ]
        since = run.history[run.history.index(ours[0]) + 1 :]
        if not any(_is_of_others(sim, run_id, state) for state in since):
            return f"{run.run.name} ({run_id}) was {end.name} and is {run.state.name}"
    return None


def _is_of_others(sim: Simulation, run_id: FlowRunId, state: State) -> bool:
    """Whether no worker of ours wrote it, or one that wrote it long before."""
    return state.transition_id not in sim.server.proposed or (
        sim.truth.late.get(run_id) == state.id
    )


def _codes(sim: Simulation, run_id: FlowRunId) -> set[str]:
    mine = [p for p in sim.processes if flow_run_id_of(p.key) == run_id]
    return {str(p.exit.status_code) for p in mine if p.exit is not None}
