"""Starts one worker in the house: the real actors, with everything around them played."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from actors.app.job_preparer import JobPreparer
from actors.app.wiring import Wiring, WorkerPlan, WorkerPorts, start_actors
from actors.domain.model import Deployment, FlowRun, WorkPool
from actors.domain.policy import OnDeadline
from actors.domain.ports import Launcher, Orchestrator
from actors.settings.worker_settings import WorkerSettings

from .bugs import BuggyJobPreparer
from .hands import LifeJournal, LifeLauncher
from .life import Life
from .wire import Wire

if TYPE_CHECKING:
    from .house import House

HOST = "here"
POOL = "pool"


def start_worker(house: House, life: Life) -> Wiring:
    """A worker whose every effect on the world goes through ``life``."""
    plan = house.plan
    wire = Wire(
        house.orchestrator,
        house.server,
        life=life,
        skies=house.skies,
        trace=house.trace,
        spawn=house.spawn,
        house=house,
        bugs=house.bugs,
    )
    hand = LifeLauncher(
        house.keeper,
        life=life,
        road=house.road,
        trace=house.trace,
        happened=house.happened,
        ordered=house.end_ordered,
        bugs=house.bugs,
    )
    journal = LifeJournal(
        house.records,
        house.disk,
        life=life,
        trace=house.trace,
        happened=house.happened,
        wanted=lambda key: house.truth.note_wish(key, house.clock.monotonic()),
        saving=house.saving,
        unrecorded=house.unrecorded,
        bugs=house.bugs,
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
            clock=house.clock,
            rng=house.worker_rng,
            prepare_job=BuggyJobPreparer(
                JobPreparer(
                    orchestrator=api,
                    folder=house.records.folder,
                    worker="w",
                    engine_python=_python,
                    base_env={},
                    monotonic=house.clock.monotonic,
                ),
                house.bugs,
            ).prepare_job,
            pid_exists=lambda pid: any(p.identity.pid == pid for p in house.keeper.alive()),
            uses_runner=_uses_runner,
            resource_monitor=house.measure if plan.measures else None,
        ),
    )


async def _python() -> str:
    return "python"


def _uses_runner(run: FlowRun, deployment: Deployment | None, pool: WorkPool | None) -> bool:
    return False
