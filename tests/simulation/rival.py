"""Another worker on the pool: it claims, runs and ends runs while our claim is under way."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from actors.domain.ids import FlowRunId
from actors.domain.model import Accepted, StateType

if TYPE_CHECKING:
    from .simulation import Simulation


def overtake(sim: Simulation, run_id: FlowRunId, rng: Random) -> None:
    """Take a scheduled run away from under our claim, and end it at once or later."""
    server = sim.server
    if run_id not in server.runs or server.run(run_id).state.type is not StateType.SCHEDULED:
        return
    if not isinstance(server.set_state(run_id, StateType.PENDING), Accepted):
        return
    claimed = server.run(run_id).state
    sim.trace.say("rival", "takes", server.run(run_id).run.name)

    def end() -> None:
        if run_id in server.runs and server.run(run_id).state == claimed:
            server.set_state(run_id, StateType.RUNNING)
            server.set_state(run_id, rng.choice(ENDS))

    if rng.random() < 0.5:
        end()
    else:
        sim.clock.call_later(rng.uniform(1.0, 20.0), end)


ENDS = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED)
