"""A whole worker on virtual time: the real actors, a Prefect server in memory, scripted processes.

What is scripted behaves as the real thing does: a process with the engine's command reports its
states to the server, one with another command does not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from actors.app.job_preparer import JobPreparer, uses_runner
from actors.app.wiring import RUN_PREFIX, Wiring, WorkerPlan, WorkerPorts, start_actors
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.messages.dispatcher import ListRuns, RunInfo
from actors.runtime import AsyncioRef, LoopClock, Ping, shut_down
from actors.settings.worker_settings import WorkerSettings
from actors.testing.event_stream import InMemoryEventStream
from actors.testing.faults import Faults
from actors.testing.journal import MemoryJournal
from actors.testing.orchestrator import InMemoryOrchestrator
from actors.testing.processes import Script, ScriptedKeeper, ScriptedLauncher, ScriptedProcess
from actors.testing.virtual_time import START, run_virtual
from tests.support.recording_notifier import RecordingNotifier
from tests.support.scripted_memory import ScriptedResourceMonitor

HOST = "here"
POOL = "pool"
LONGEST_STORY_SECONDS = 2 * 86400.0
"""Virtual: a story that waits for ever fails."""
PATIENCE_SECONDS = 7200.0
"""Virtual: how long a test waits for what must happen."""


class WorkerWorld:
    """Everything around one worker that may be killed and started again."""

    def __init__(
        self, *, script: Script | None = None, faults: Faults | None = None, seed: int = 1
    ) -> None:
        self.clock = LoopClock(epoch=START)
        self.rng = random.Random(seed)
        self.orchestrator = InMemoryOrchestrator(self.clock, faults=faults)
        self.server = self.orchestrator.world
        self.server.add_pool(POOL)
        self.keeper = ScriptedKeeper(self.clock, script or self.engine)
        self.launcher = ScriptedLauncher(self.keeper)
        self.journal = MemoryJournal()
        self.measure = ScriptedResourceMonitor()
        self.notifier: RecordingNotifier | None = None
        self.stream: InMemoryEventStream | None = None
        self.maintenance_until: float | None = None
        self.wiring: Wiring | None = None

    # -- the worker ------------------------------------------------------------------------

    async def start(self, **settings: Any) -> Wiring:
        """Start a worker with these settings and wait until its actors are up."""
        self.wiring = start_actors(
            WorkerPlan(
                settings=WorkerSettings(**{"pool": POOL} | settings), name="w", hostname=HOST
            ),
            WorkerPorts(
                orchestrator=self.orchestrator,
                launcher=self.launcher,
                journal=self.journal,
                clock=self.clock,
                rng=self.rng,
                prepare_job=JobPreparer(
                    orchestrator=self.orchestrator,
                    folder=self.journal.folder,
                    worker="w",
                    engine_python="python",
                    base_env={},
                    monotonic=self.clock.monotonic,
                ).prepare_job,
                pid_exists=lambda pid: any(p.identity.pid == pid for p in self.keeper.alive()),
                uses_runner=uses_runner,
                maintenance_until=lambda: self.maintenance_until,
                resource_monitor=self.measure,
                notifier=self.notifier,
                event_stream=self.stream,
            ),
        )
        await self.wiring.guardian.request(Ping(), timeout=None)
        return self.wiring

    async def start_running(
        self, *, job_variables: Mapping[str, Any] | None = None, **settings: Any
    ) -> tuple[FlowRunId, ScriptedProcess]:
        """Start a worker, and a run that never ends by itself; return when it is Running."""
        self.keeper.script = self.sleeper
        run = self.server.schedule(POOL, job_variables=job_variables or {})
        await self.start(**settings)
        await self.until_state(run, StateType.RUNNING)
        [process] = self.keeper.alive()
        return run, process

    async def stop(self) -> None:
        """Stop the worker as a deadline with `leave` does; runs stay with the keeper."""
        if self.wiring is not None:
            await shut_down(self.wiring.guardian, 60.0)
            self.keeper.disconnect()
            self.wiring = None

    async def kill(self) -> None:
        """End the worker as `kill -9` does: no hook gets to say or save anything more."""
        assert self.wiring is not None
        for _, ref in self.wiring.directory:
            ref.kill()
        self.keeper.disconnect()
        await asyncio.gather(*(ref.joined() for _, ref in self.wiring.directory))
        self.wiring = None

    @property
    def guardian(self) -> AsyncioRef:
        """The living worker's."""
        assert self.wiring is not None
        return self.wiring.guardian

    def actor(self, name: str) -> AsyncioRef:
        """The living actor of this name."""
        assert self.wiring is not None
        ref = self.wiring.directory.find(name)
        assert ref is not None, f"{name} is not there"
        return ref

    async def fail(self, name: str) -> None:
        """End an actor as a bug does; return when it has ended."""
        ref = self.actor(name)
        ref.kill()
        await ref.joined()

    def supervisors(self) -> list[str]:
        """The claims that have a supervisor."""
        assert self.wiring is not None
        return [n for n, ref in self.wiring.directory if n.startswith(RUN_PREFIX)]

    async def in_hand(self) -> tuple[RunInfo, ...]:
        """What the Dispatcher knows of."""
        assert self.wiring is not None
        return await self.wiring.directory.address("dispatcher").request(ListRuns(), timeout=60)

    # -- around it ---------------------------------------------------------------------------

    def engine(self, process: ScriptedProcess) -> None:
        """An engine that runs a flow for five seconds."""
        run_id = FlowRunId(process.order.env["PREFECT__FLOW_RUN_ID"])
        if process.order.argv[1:] != ("-m", "prefect.engine"):
            self.clock.call_later(5.0, lambda: process.end(0))
            return

        def begin() -> None:
            if process.exit is None:
                self.server.set_state(run_id, StateType.RUNNING)

        def finish() -> None:
            if process.exit is None:
                self.server.set_state(run_id, StateType.COMPLETED)
                process.end(0)

        self.clock.call_later(1.0, begin)
        self.clock.call_later(6.0, finish)

    def sleeper(self, process: ScriptedProcess) -> None:
        """An engine whose flow never ends by itself."""
        run_id = FlowRunId(process.order.env["PREFECT__FLOW_RUN_ID"])

        def begin() -> None:
            self.server.set_state(run_id, StateType.RUNNING)

        self.clock.call_later(1.0, begin)

    def state(self, run_id: FlowRunId) -> StateType:
        """The run's state at the server."""
        return self.server.run(run_id).state.type

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until something holds; an AssertionError if it never does."""
        deadline = self.clock.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert self.clock.monotonic() < deadline, "it never came to that"
            await asyncio.sleep(0.1)

    async def until_state(self, run_id: FlowRunId, type_: StateType) -> None:
        """Let time pass until the server holds the run in this type of state."""
        await self.until(lambda: self.state(run_id) is type_)

    async def until_settled(self) -> None:
        """Let time pass until no run is in hand."""
        await self.until(lambda: not self.supervisors())


def play(story: Callable[[WorkerWorld], Awaitable[None]], **world: Any) -> None:
    """Tell a story on virtual time and stop the worker at its end."""

    async def tell() -> None:
        around = WorkerWorld(**world)
        try:
            async with asyncio.timeout(LONGEST_STORY_SECONDS):
                await story(around)
        finally:
            await around.stop()

    run_virtual(tell())
