"""Starts one worker in the simulation: the real actors, with fakes for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actors.app.job_preparer import JobPreparer
from actors.app.wiring import Wiring, WorkerPlan, WorkerPorts, start_actors
from actors.domain.model import Deployment, FlowRun, WorkPool
from actors.domain.policy import OnDeadline
from actors.domain.ports import Launcher, Orchestrator
from actors.settings.worker_settings import WorkerSettings

from .bugs import BuggyJobPreparer
from .life import Life
from .programs import HOOKS_SECONDS
from .stream import LifeStream
from .wire import Wire
from .worker_ports import LifeJournal, LifeLauncher

if TYPE_CHECKING:
    from .simulation import Simulation

HOST = "here"
POOL = "pool"


def start_worker(sim: Simulation, life: Life) -> Wiring:
    """A worker whose every effect on the world goes through ``life``."""
    plan = sim.plan
    wire = Wire(
        sim.orchestrator,
        sim.server,
        life=life,
        network=sim.network,
        trace=sim.trace,
        spawn=sim.spawn,
        sim=sim,
        bugs=sim.bugs,
    )
    hand = LifeLauncher(
        sim.keeper,
        life=life,
        keeper_link=sim.keeper_link,
        trace=sim.trace,
        happened=sim.happened,
        ordered=sim.end_ordered,
        bugs=sim.bugs,
    )
    journal = LifeJournal(
        sim.records,
        sim.disk,
        life=life,
        trace=sim.trace,
        happened=sim.happened,
        wanted=lambda key: sim.truth.note_wish(key, sim.clock.monotonic()),
        saving=sim.saving,
        unrecorded=sim.unrecorded,
        bugs=sim.bugs,
    )
    api = cast("Orchestrator", wire)
    return start_actors(
        WorkerPlan(
            settings=WorkerSettings(
                pool=POOL,
                limit=plan.limit,
                query_seconds=plan.query_seconds,
                on_deadline=OnDeadline(plan.on_deadline),
            ),
            name="w",
            hostname=HOST,
        ),
        WorkerPorts(
            orchestrator=api,
            launcher=cast("Launcher", hand),
            journal=journal,
            clock=sim.clock,
            rng=sim.worker_rng,
            prepare_job=BuggyJobPreparer(
                JobPreparer(
                    orchestrator=api,
                    folder=sim.records.folder,
                    worker="w",
                    engine_python="python",
                    base_env={},
                    hooks_seconds=HOOKS_SECONDS,
                    monotonic=sim.clock.monotonic,
                ),
                sim.bugs,
            ).prepare_job,
            pid_exists=lambda pid: any(p.identity.pid == pid for p in sim.keeper.alive()),
            uses_runner=_uses_runner,
            resource_monitor=sim.measure if plan.measures else None,
            event_stream=LifeStream(sim.stream, life) if plan.listens else None,
        ),
    )


def _uses_runner(run: FlowRun, deployment: Deployment | None, pool: WorkPool | None) -> bool:
    return False
