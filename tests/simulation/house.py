"""The house under simulation: what outlives a worker, the worker, and who starts it again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, cast

from actors.app.preparation import Preparer
from actors.app.wiring import Wiring, WorkerPlan, WorkerPorts, start_actors
from actors.domain.ids import ClaimKey, FlowRunId
from actors.domain.model import Deployment, FlowRun, WorkPool
from actors.domain.ports import Launcher, Orchestrator
from actors.domain.process import SpawnOrder
from actors.messages.lifetime import OnDeadline
from actors.runtime import ActorDeadError, AsyncioRef, LoopClock, Ping, shut_down
from actors.testing.journal import MemoryJournal
from actors.testing.orchestrator import InMemoryOrchestrator
from actors.testing.processes import ScriptedKeeper, ScriptedProcess
from actors.testing.virtual_time import START

from .hands import KeeperRoad, LifeJournal, LifeLauncher
from .life import Life
from .plan import Plan, Program
from .programs import Performance
from .server import WatchedServer, Write
from .trace import Trace
from .wire import Skies, Wire

HOST = "here"
POOL = "pool"


class House:
    """Everything around one worker, which may be killed at any effect and is started again."""

    def __init__(self, seed: int, plan: Plan, time: Any) -> None:
        self.plan = plan
        self.clock = LoopClock(epoch=START)
        self.trace = Trace(time)
        self.rng = Random(f"{seed}/house")
        self.worker_rng = Random(f"{seed}/worker")
        self.orchestrator = InMemoryOrchestrator(self.clock, version=plan.version)
        self.server = WatchedServer(self.clock, plan.version, self._written)
        self.orchestrator.world = self.server
        self.keeper = ScriptedKeeper(self.clock, self._perform, refuse=_refuse)
        self.disk = MemoryJournal()
        self.road = KeeperRoad(Random(f"{seed}/road"), plan.weather.keeper_lost)
        self.skies = Skies(plan.weather, plan.calm_at, Random(f"{seed}/skies"))
        self.programs: dict[FlowRunId, Program] = {}
        self.on_write: tuple[Callable[[House, Write], str | None], ...] = ()
        self.processes: list[ScriptedProcess] = []
        """Every process there ever was."""
        self.strays: set[ClaimKey] = set()
        """Claims whose record was lost: only the keeper may know of them."""
        self.unrecorded: set[FlowRunId] = set()
        """Runs that were claimed while the disk was full: a kill before the spawn strands them."""
        self.life = Life()
        self.wiring: Wiring | None = None
        self.dozing = 0
        self.ended_by_us: set[str] = set()
        self.known_refs: dict[str, AsyncioRef] = {}
        self.has_drained = False
        self.problems: list[str] = []
        self.in_trouble = asyncio.Event()
        """Set at the first broken invariant; its words are in ``problems``."""
        self._effects = 0
        self.kill_points = set(plan.kills_at_effects)
        self._killed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the worker ------------------------------------------------------------------------

    async def tend(self) -> None:
        """Start the worker whenever there is none, as a service manager does."""
        while True:
            self._start()
            assert self.wiring is not None
            guardian = self.wiring.guardian
            killed = asyncio.ensure_future(self._killed.wait())
            ended = asyncio.ensure_future(guardian.joined())
            await asyncio.wait({killed, ended}, return_when=asyncio.FIRST_COMPLETED)
            for task in (killed, ended):
                task.cancel()
            failure = guardian.failure
            await self.bury()
            self.trace.say("worker", "is gone", failure or "")
            await asyncio.sleep(self.rng.choice((0.05, 1.0, 15.0)))

    def _start(self) -> None:
        self._killed.clear()
        self.life = life = Life()
        plan, trace, happened = self.plan, self.trace, self._happened
        wire = Wire(
            self.orchestrator,
            self.server,
            life=life,
            skies=self.skies,
            trace=trace,
            spawn=self.spawn,
            happened=happened,
        )
        api = cast("Orchestrator", wire)
        hand = LifeLauncher(self.keeper, life=life, road=self.road, trace=trace, happened=happened)
        self.wiring = start_actors(
            WorkerPlan(
                name="w",
                pool=POOL,
                hostname=HOST,
                limit=plan.limit,
                query_seconds=plan.query_seconds,
                on_deadline=OnDeadline(plan.on_deadline),
            ),
            WorkerPorts(
                orchestrator=api,
                launcher=cast("Launcher", hand),
                journal=LifeJournal(
                    self.disk,
                    life=life,
                    trace=trace,
                    happened=happened,
                    unrecorded=self.unrecorded,
                ),
                clock=self.clock,
                rng=self.worker_rng,
                prepare=Preparer(
                    orchestrator=api,
                    folder=self.disk.folder,
                    worker="w",
                    engine_python=_python,
                    base_env={},
                ),
                pid_exists=lambda pid: any(p.identity.pid == pid for p in self.keeper.alive()),
                uses_runner=_uses_runner,
            ),
        )
        trace.say("worker", "starts")

    def kill(self) -> None:
        """As `kill -9`: from here on nothing more is said, saved or ordered."""
        if self.wiring is not None and not self.life.over:
            self.trace.say("worker", "KILLED")
            self.life.over = True
            self.keeper.disconnect()
            self._killed.set()

    async def bury(self) -> None:
        assert self.wiring is not None
        self.life.over = True
        self.keeper.disconnect()
        directory = self.wiring.directory
        while refs := [ref for _, ref in directory]:
            for ref in refs:
                ref.kill()
            await asyncio.gather(*(ref.joined() for ref in refs))
        self.wiring = None

    async def restart(self) -> None:
        """Stop the worker in good order; another one is started soon."""
        assert self.wiring is not None
        guardian = self.wiring.guardian
        with contextlib.suppress(ActorDeadError):  # it is stopping already
            await guardian.request(Ping(), timeout=None)
        await shut_down(guardian, 60.0)
        await asyncio.sleep(30.0)

    def up(self) -> bool:
        """Whether there is a worker, and all its services are started."""
        return self.wiring is not None and not self.life.over

    # -- the world -------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on beside the worker."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _happened(self) -> None:
        """The worker had an effect on the world: the moment to kill it, if planned."""
        self._effects += 1
        if self._effects in self.kill_points:
            self.kill()

    def _perform(self, process: ScriptedProcess) -> None:
        run_id = FlowRunId(process.order.env["PREFECT__FLOW_RUN_ID"])
        self.trace.say("process", process.identity.pid, "starts for", process.key)
        self.processes.append(process)
        Performance(self.programs[run_id], process, self.server, self.clock)

    def _written(self, write: Write) -> None:
        forced = "by force" if write.proposal.force else ""
        name = self.server.runs[write.run_id].run.name
        self.trace.say(write.author, name, write.before.name, "->", write.after.name, forced)
        for check in self.on_write:
            self.blame(check.__name__, check(self, write))

    def blame(self, rule: str, what: str | None) -> None:
        """Note that ``rule`` is broken, unless nothing is wrong."""
        if what is not None and not self.problems:
            self.problems.append(f"{rule}: {what}")
            self.trace.say("BROKEN", rule, what)
            self.in_trouble.set()


async def _python() -> str:
    return "python"


def _refuse(order: SpawnOrder) -> str | None:
    return "No such command: frobnicate" if order.argv[0] == "frobnicate" else None


def _uses_runner(run: FlowRun, deployment: Deployment | None, pool: WorkPool | None) -> bool:
    return False
