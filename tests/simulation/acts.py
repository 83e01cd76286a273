"""What users, other workers, operators and bad luck do to the house while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from actors.app.wiring import RUN_PREFIX
from actors.domain.errors import NotFound
from actors.domain.ids import DeploymentId, FlowRunId
from actors.domain.model import StateType
from actors.domain.record import Phase
from actors.event_emitter import EventEmitter
from actors.messages.lifetime import Deadline, Drain, Reexec
from actors.runtime import AsyncioRef
from actors.runtime.query import Order

from .house import House
from .plan import Act, PlannedRun
from .truth import limits_in
from .worker import POOL


class Doze(Order):
    """An actor that does not come to its next message for a while."""

    def __init__(self, house: House, seconds: float) -> None:
        self._house = house
        self._seconds = seconds

    async def carry_out(self, actor: Any) -> None:
        self._house.dozing += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._house.dozing -= 1


class Acts:
    """Owns: which flow run is which of the plan's, by number."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._runs: dict[int, FlowRunId] = {}
        self._deployments: list[DeploymentId] = []

    def arrange(self) -> None:
        """Set the stage and put everything planned on the clock."""
        house, plan = self._house, self._house.plan
        house.server.add_pool(POOL)
        house.server.add_queue(POOL, "other")
        self._deployments = [
            house.server.add_deployment(f"d{n}", concurrency_limit=limit, on_full=on_full)
            for n, (limit, on_full) in enumerate(plan.deployments)
        ]
        for number, run in enumerate(plan.runs):
            self._at(run.at, self._schedule, number, run)
        for act in plan.acts:
            self._at(act.at, self._perform, act)

    def _at(self, time: float, what: Callable[..., object], *args: Any) -> None:
        def ring() -> None:
            what(*args)

        self._house.clock.call_later(time, ring)

    def _schedule(self, number: int, run: PlannedRun) -> None:
        server = self._house.server
        deployment = None if run.deployment is None else self._deployments[run.deployment]
        if deployment is not None and deployment not in server.deployments:
            return
        self._runs[number] = run_id = server.schedule(
            POOL,
            deployment_id=deployment,
            due=self._house.clock.now() + timedelta(seconds=run.early),
            queue=run.queue,
            name=run.name,
            job_variables=run.variables,
        )
        self._house.programs[run_id] = run.program
        self._house.truth.limits[run_id] = limits_in(run.variables)
        self._house.trace.say("user", "schedules", run.name, run_id, run.program)

    def _perform(self, act: Act) -> None:
        self._house.trace.say("act", act.what, act.target if act.target is not None else "")
        with contextlib.suppress(NotFound):  # deleted by now
            getattr(self, act.what)(act)

    def _target(self, act: Act) -> FlowRunId:
        if act.target not in self._runs:
            raise NotFound("not there yet")
        return self._runs[act.target]

    # -- users and other workers -------------------------------------------------------------

    def cancel(self, act: Act) -> None:
        self._house.server.cancel(self._target(act))

    def delete_run(self, act: Act) -> None:
        self._house.server.run(self._target(act))
        self._house.server.delete_run(self._target(act))

    def force(self, act: Act) -> None:
        """Somebody sets the state of a run that is under way, as the UI allows."""
        run_id = self._target(act)
        if self._house.server.run(run_id).state.type in (
            StateType.PENDING,
            StateType.RUNNING,
            StateType.CANCELLING,
        ):
            type_ = self._house.rng.choice((StateType.COMPLETED, StateType.FAILED))
            self._house.server.set_state(run_id, type_, force=True)

    def retry(self, act: Act) -> None:
        run_id = self._target(act)
        if self._house.server.run(run_id).state.type.is_terminal:
            due = self._house.clock.now().isoformat()
            details = {"scheduled_time": due}
            self._house.server.set_state(
                run_id, StateType.SCHEDULED, "AwaitingRetry", details=details
            )

    def take_away(self, act: Act) -> None:
        """Another worker is faster."""
        server, run_id = self._house.server, self._target(act)
        if server.run(run_id).state.type is not StateType.SCHEDULED:
            return
        server.set_state(run_id, StateType.PENDING)

        def finish() -> None:
            if run_id in server.runs:
                server.set_state(run_id, StateType.COMPLETED)

        self._at(act.seconds, finish)

    def delete_deployment(self, act: Act) -> None:
        if self._deployments and self._deployments[0] in self._house.server.deployments:
            self._house.server.delete_deployment(self._deployments[0])

    def pause(self, act: Act) -> None:
        self._house.server.pause_pool(POOL)
        self._at(act.seconds, lambda: self._house.server.pause_pool(POOL, paused=False))

    # -- the machine -------------------------------------------------------------------------

    def kill(self, act: Act) -> None:
        self._house.kill()

    def reboot(self, act: Act) -> None:
        self._house.kill()
        self._house.keeper.reboot()

    def keeper_dies(self, act: Act) -> None:
        self._house.keeper.succeed()

    def keeper_away(self, act: Act) -> None:
        self._house.road.away = True
        self._at(act.seconds, lambda: setattr(self._house.road, "away", False))

    def disk_full(self, act: Act) -> None:
        self._house.records.full = True
        self._at(act.seconds, lambda: setattr(self._house.records, "full", False))

    def disk_stuck(self, act: Act) -> None:
        """At once, or with the next record of a phase."""
        house, disk = self._house, self._house.disk

        def stick(phase: Phase) -> None:
            if act.target in (None, phase):
                house.trace.say("disk", "is stuck")
                disk.stuck, disk.stick = True, lambda phase: None
                house.clock.call_later(act.seconds, lambda: setattr(disk, "stuck", False))

        if act.target is None:
            stick(Phase.OVER)
        else:
            disk.stick = stick

    def lose_record(self, act: Act) -> None:
        """A record turns out to be unreadable when the next worker starts."""
        records = self._house.records.unsettled
        if records:
            self._house.kill()
            key = self._house.rng.choice(records).key
            self._house.trace.say("disk", "loses", key)
            del self._house.records.records[key]
            self._house.strays.add(key)

    def memory_short(self, act: Act) -> None:
        """Others on the machine need nearly all of its memory."""
        house, full = self._house, 97.0
        usual = house.measure.host_percent
        if usual == full:
            return
        house.measure.host_percent, house.truth.short_since = full, house.clock.monotonic()

        def relieve() -> None:
            house.measure.host_percent, house.truth.short_since = usual, None

        self._at(act.seconds, relieve)

    def measure_fails(self, act: Act) -> None:
        measure = self._house.measure
        measure.failure = OSError("no /proc")
        self._at(act.seconds, lambda: setattr(measure, "failure", None))

    def kernel_kill(self, act: Act) -> None:
        """The kernel is out of memory and chooses a run."""
        alive = self._house.keeper.alive()
        if alive:
            process = self._house.rng.choice(alive)
            self._house.trace.say("kernel", "kills", process.key)
            self._house.truth.kernel_kills.add(process.key)
            self._house.measure.kernel_kills[process.identity.pid] += 1
            process.end(-9)

    # -- the worker's own troubles -------------------------------------------------------------

    def drain(self, act: Act) -> None:
        if self._house.up() and self._house.wiring is not None:
            guardian, life = self._house.wiring.guardian, self._house.life

            def deadline() -> None:
                life.ends_runs = self._house.plan.on_deadline == "terminate"
                guardian.tell_if_alive(Deadline())

            life.leaving = True
            guardian.tell_if_alive(Drain())
            self._at(act.seconds, deadline)

    def reexec(self, act: Act) -> None:
        """The worker is upgraded in place."""
        if self._house.up() and self._house.wiring is not None:
            self._house.life.leaving = True
            self._house.wiring.guardian.tell_if_alive(Reexec())

    def fail_service(self, act: Act) -> None:
        self._fail(self._actor(act.target))

    def fail_supervisor(self, act: Act) -> None:
        self._fail(self._supervisor())

    def doze_service(self, act: Act) -> None:
        self._doze(self._actor(act.target), act.seconds)

    def doze_supervisor(self, act: Act) -> None:
        self._doze(self._supervisor(), act.seconds / 10)

    def _actor(self, name: str) -> AsyncioRef | None:
        if not self._house.up() or self._house.wiring is None:
            return None
        return self._house.wiring.directory.find(name)

    def _supervisor(self) -> AsyncioRef | None:
        if not self._house.up() or self._house.wiring is None:
            return None
        names = [n for n, _ in self._house.wiring.directory if n.startswith(RUN_PREFIX)]
        return self._actor(self._house.rng.choice(names)) if names else None

    def _fail(self, ref: AsyncioRef | None) -> None:
        if ref is not None:
            house = self._house
            house.ended_by_us.add(ref.actor_urn)
            house.truth.note_handover(house.clock.monotonic())
            if ref.actor_class is EventEmitter:
                house.truth.events_lost_at = house.clock.monotonic()
            ref.kill()

    def _doze(self, ref: AsyncioRef | None, seconds: float) -> None:
        if ref is not None:
            ref.tell_if_alive(Doze(self._house, seconds))
