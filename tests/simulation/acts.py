"""What users, other workers, operators and bad luck do to the simulation while it runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from actors.app.wiring import RUN_PREFIX
from actors.deliveries import EventEmitter
from actors.domain.errors import NotFound, Unavailable
from actors.domain.ids import DeploymentId, FlowRunId
from actors.domain.model import StateType
from actors.domain.record import Phase
from actors.messages.guardian import Deadline, Drain, Reexec
from actors.runtime import AsyncioRef
from actors.runtime.query import Order

from .plan import Act, PlannedRun
from .simulation import Simulation
from .truth import limits_in
from .worker import POOL


class Doze(Order):
    """An actor that does not come to its next message for a while."""

    def __init__(self, sim: Simulation, seconds: float) -> None:
        self._sim = sim
        self._seconds = seconds

    async def carry_out(self, actor: Any) -> None:
        self._sim.blocked_actors += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._sim.blocked_actors -= 1
            self._sim.note_trouble()  # it has yet to hear what happened meanwhile


class Acts:
    """Owns: which flow run is which of the plan's, by number."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._runs: dict[int, FlowRunId] = {}
        self._deployments: list[DeploymentId] = []

    def arrange(self) -> None:
        """Set the stage and put everything planned on the clock."""
        sim, plan = self._sim, self._sim.plan
        sim.server.add_pool(POOL)
        sim.server.add_queue(POOL, "other")
        self._deployments = [
            sim.server.add_deployment(f"d{n}", concurrency_limit=limit, on_full=on_full)
            for n, (limit, on_full) in enumerate(plan.deployments)
        ]
        for number, run in enumerate(plan.runs):
            self._at(run.at, self._schedule, number, run)
        for act in plan.acts:
            self._at(act.at, self._perform, act)

    def _at(self, time: float, what: Callable[..., object], *args: Any) -> None:
        def ring() -> None:
            what(*args)

        self._sim.clock.call_later(time, ring)

    def _schedule(self, number: int, run: PlannedRun) -> None:
        server = self._sim.server
        deployment = None if run.deployment is None else self._deployments[run.deployment]
        if deployment is not None and deployment not in server.deployments:
            return
        self._runs[number] = run_id = server.schedule(
            POOL,
            deployment_id=deployment,
            due=self._sim.clock.now() + timedelta(seconds=run.early),
            queue=run.queue,
            name=run.name,
            job_variables=run.variables,
        )
        self._sim.programs[run_id] = run.program
        self._sim.truth.limits[run_id] = limits_in(run.variables)
        self._sim.trace.say("user", "schedules", run.name, run_id, run.program)

    def _perform(self, act: Act) -> None:
        self._sim.trace.say("act", act.what, act.target if act.target is not None else "")
        with contextlib.suppress(NotFound):  # deleted by now
            getattr(self, act.what)(act)

    def _target(self, act: Act) -> FlowRunId:
        if act.target not in self._runs:
            raise NotFound("not there yet")
        return self._runs[act.target]

    # -- users and other workers -------------------------------------------------------------

    def cancel(self, act: Act) -> None:
        self._sim.server.cancel(self._target(act))

    def delete_run(self, act: Act) -> None:
        self._sim.server.run(self._target(act))
        self._sim.server.delete_run(self._target(act))
        self._sim.truth.deleted_at[self._target(act)] = self._sim.clock.monotonic()

    def force(self, act: Act) -> None:
        """Somebody sets the state of a run that is under way, as the UI allows."""
        run_id = self._target(act)
        if self._sim.server.run(run_id).state.type in (
            StateType.PENDING,
            StateType.RUNNING,
            StateType.CANCELLING,
        ):
            type_ = self._sim.rng.choice((StateType.COMPLETED, StateType.FAILED))
            self._sim.server.set_state(run_id, type_, force=True)

    def retry(self, act: Act) -> None:
        run_id = self._target(act)
        if self._sim.server.run(run_id).state.type.is_terminal:
            due = self._sim.clock.now().isoformat()
            details = {"scheduled_time": due}
            self._sim.server.set_state(
                run_id, StateType.SCHEDULED, "AwaitingRetry", details=details
            )

    def take_away(self, act: Act) -> None:
        """Another worker is faster."""
        server, run_id = self._sim.server, self._target(act)
        if server.run(run_id).state.type is not StateType.SCHEDULED:
            return
        server.set_state(run_id, StateType.PENDING)

        def finish() -> None:
            if run_id in server.runs:
                server.set_state(run_id, StateType.COMPLETED)

        self._at(act.seconds, finish)

    def delete_deployment(self, act: Act) -> None:
        if self._deployments and self._deployments[0] in self._sim.server.deployments:
            self._sim.server.delete_deployment(self._deployments[0])

    def pause(self, act: Act) -> None:
        self._sim.server.pause_pool(POOL)
        self._at(act.seconds, lambda: self._sim.server.pause_pool(POOL, paused=False))

    def cut_stream(self, act: Act) -> None:
        """The server, or a proxy, closes the event stream, and may be away for a while."""
        stream = self._sim.stream
        stream.cut()
        if act.seconds:
            stream.refusal = Unavailable("the server is away")
            self._at(act.seconds, lambda: setattr(stream, "refusal", None))

    # -- the machine -------------------------------------------------------------------------

    def kill(self, act: Act) -> None:
        self._sim.kill()

    def reboot(self, act: Act) -> None:
        self._sim.kill()
        self._sim.keeper.reboot()

    def keeper_dies(self, act: Act) -> None:
        self._sim.keeper.succeed()

    def keeper_away(self, act: Act) -> None:
        self._sim.keeper_link.away = True
        self._at(act.seconds, lambda: setattr(self._sim.keeper_link, "away", False))

    def disk_full(self, act: Act) -> None:
        self._sim.records.full = True
        self._at(act.seconds, lambda: setattr(self._sim.records, "full", False))

    def disk_stuck(self, act: Act) -> None:
        """At once, or with the next record of a phase."""
        sim, disk = self._sim, self._sim.disk

        def stick(phase: Phase) -> None:
            if act.target in (None, phase):
                sim.trace.say("disk", "is stuck")
                disk.stuck, disk.stick = True, lambda phase: None
                sim.clock.call_later(act.seconds, lambda: setattr(disk, "stuck", False))

        if act.target is None:
            stick(Phase.OVER)
        else:
            disk.stick = stick

    def lose_record(self, act: Act) -> None:
        """A record turns out to be unreadable when the next worker starts."""
        records = self._sim.records.unsettled
        if records:
            self._sim.kill()
            key = self._sim.rng.choice(records).key
            self._sim.trace.say("disk", "loses", key)
            del self._sim.records.records[key]
            self._sim.strays.add(key)

    def memory_short(self, act: Act) -> None:
        """Others on the machine need nearly all of its memory."""
        sim, full = self._sim, 97.0
        usual = sim.measure.host_percent
        if usual == full:
            return
        sim.measure.host_percent, sim.truth.short_since = full, sim.clock.monotonic()

        def relieve() -> None:
            sim.measure.host_percent, sim.truth.short_since = usual, None

        self._at(act.seconds, relieve)

    def measure_fails(self, act: Act) -> None:
        measure = self._sim.measure
        measure.failure = OSError("no /proc")
        self._at(act.seconds, lambda: setattr(measure, "failure", None))

    def kernel_kill(self, act: Act) -> None:
        """The kernel is out of memory and chooses a run."""
        alive = self._sim.keeper.alive()
        if alive:
            process = self._sim.rng.choice(alive)
            self._sim.trace.say("kernel", "kills", process.key)
            self._sim.truth.kernel_kills.add(process.key)
            self._sim.measure.kernel_kills[process.identity.pid] += 1
            process.end(-9)

    # -- the worker's own troubles -------------------------------------------------------------

    def drain(self, act: Act) -> None:
        if self._sim.up() and self._sim.wiring is not None:
            guardian, life = self._sim.wiring.guardian, self._sim.life

            def deadline() -> None:
                life.ends_runs = self._sim.plan.on_deadline == "terminate"
                guardian.tell_if_alive(Deadline())

            life.leaving = True
            guardian.tell_if_alive(Drain())
            self._at(act.seconds, deadline)

    def reexec(self, act: Act) -> None:
        """The worker is upgraded in place."""
        if self._sim.up() and self._sim.wiring is not None:
            self._sim.life.leaving = True
            self._sim.wiring.guardian.tell_if_alive(Reexec())

    def fail_service(self, act: Act) -> None:
        self._fail(self._actor(act.target))

    def fail_supervisor(self, act: Act) -> None:
        self._fail(self._supervisor())

    def doze_service(self, act: Act) -> None:
        self._doze(self._actor(act.target), act.seconds)

    def doze_supervisor(self, act: Act) -> None:
        self._doze(self._supervisor(), act.seconds / 10)

    def _actor(self, name: str) -> AsyncioRef | None:
        if not self._sim.up() or self._sim.wiring is None:
            return None
        return self._sim.wiring.directory.find(name)

    def _supervisor(self) -> AsyncioRef | None:
        if not self._sim.up() or self._sim.wiring is None:
            return None
        names = [n for n, _ in self._sim.wiring.directory if n.startswith(RUN_PREFIX)]
        return self._actor(self._sim.rng.choice(names)) if names else None

    def _fail(self, ref: AsyncioRef | None) -> None:
        if ref is not None:
            sim = self._sim
            sim.ended_by_us.add(ref.actor_urn)
            sim.truth.note_handover(sim.clock.monotonic())
            if ref.actor_class is EventEmitter:
                sim.truth.events_lost_at = sim.clock.monotonic()
            ref.kill()

    def _doze(self, ref: AsyncioRef | None, seconds: float) -> None:
        if ref is not None:
            ref.tell_if_alive(Doze(self._sim, seconds))
