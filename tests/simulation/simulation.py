"""One simulation: what outlives a worker, the worker, and who starts it again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from random import Random
from typing import Any

from actors.app.wiring import Wiring
from actors.domain.errors import OrchestratorError, is_final
from actors.domain.ids import ClaimKey, FlowRunId, claim_key, claim_of_hooks
from actors.domain.model import StateType
from actors.domain.process import SpawnOrder
from actors.domain.record import MEBIBYTE, Phase, RunRecord
from actors.runtime import ActorDeadError, AsyncioRef, LoopClock, Ping, shut_down
from actors.testing.journal import MemoryJournal
from actors.testing.orchestrator import InMemoryOrchestrator
from actors.testing.processes import ScriptedKeeper, ScriptedProcess
from actors.testing.virtual_time import START
from tests.support.builders import flow_run_id_of

from .bugs import Bugs
from .life import Life
from .plan import Plan, Program
from .programs import Performance, perform_hooks
from .rival import overtake
from .rules import Check, Rules
from .server import Request, WatchedServer, Write, is_claim
from .stream import NO_FAULTS, FaultyStream, StreamFaults
from .trace import Trace
from .truth import WISHED, Truth
from .wire import FaultyNetwork
from .worker import start_worker
from .worker_ports import Disk, KeeperLink, SimulatedMemory


class Simulation:
    """Everything around one worker, which may be killed at any effect and is started again."""

    def __init__(self, seed: int, plan: Plan, time: Any) -> None:
        self.plan = plan
        self.clock = LoopClock(epoch=START)
        self.trace = Trace(time)
        self.rng = Random(f"{seed}/house")
        self.rivals_rng = Random(f"{seed}/rival")
        self.hooks_rng = Random(f"{seed}/hooks")
        self.worker_rng = Random(f"{seed}/worker")
        self.orchestrator = InMemoryOrchestrator(self.clock, version=plan.version)
        self.server = WatchedServer(self.clock, plan.version, self._written)
        self.orchestrator.world = self.server
        self.keeper = ScriptedKeeper(
            self.clock,
            self._perform,
            refuse=_refuse,
            trouble=lambda _: "No space left on device." if self.records.full else None,
            reuses_pids=plan.reuses_pids,
        )
        self.records = MemoryJournal()
        self.disk = Disk(Random(f"{seed}/disk"))
        self.measure = SimulatedMemory(self.keeper, self.bytes_of)
        self.keeper_link = KeeperLink(
            Random(f"{seed}/road"), plan.fault_rates.keeper_lost, self.note_trouble
        )
        self.network = FaultyNetwork(plan.fault_rates, plan.calm_at, Random(f"{seed}/skies"))
        self.stream = FaultyStream(
            self.server, self.clock, Random(f"{seed}/stream"), self._stream_faults
        )
        self.programs: dict[FlowRunId, Program] = {}
        self.bugs = Bugs(
            self.programs, self.surprises, Random(f"{seed}/surprises"), self._met_a_bug
        )
        self.rules = Rules()
        self.truth = Truth()
        self.processes: list[ScriptedProcess] = []
        """Every process there ever was."""
        self.strays: set[ClaimKey] = set()
        """Claims whose record was lost: only the keeper may know of them."""
        self.unrecorded: set[FlowRunId] = set()
        """Runs that were claimed while the disk was full: a kill before the spawn strands them."""
        self.life = Life()
        self.wiring: Wiring | None = None
        self.blocked_actors = 0
        self.ended_by_us: set[str] = set()
        self._started: Life | None = None
        self.known_refs: dict[str, AsyncioRef] = {}
        self.problems: list[str] = []
        self.in_trouble = asyncio.Event()
        """Set at the first broken invariant; its words are in ``problems``."""
        self._effects = 0
        self.kill_points = set(plan.kills_at_effects)
        self._kill_when_ending = plan.killed_when_ending
        self._killed = asyncio.Event()
        self._restarted = False
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the worker ------------------------------------------------------------------------

    async def keep_worker_running(self) -> None:
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
            if not self._restarted:
                self.truth.events_lost_at = self.clock.monotonic()
            self.truth.note_handover(self.clock.monotonic())
            await self.finalize_worker()
            self.trace.say("worker", "is gone", failure or "")
            await asyncio.sleep(self.rng.choice((0.05, 1.0, 15.0)))

    def _start(self) -> None:
        self._killed.clear()
        self.life = life = Life()
        self.note_trouble()
        self.wiring = start_worker(self, life)
        self.trace.say("worker", "starts")
        self.spawn(self._note_start(life, self.wiring.guardian))

    async def _note_start(self, life: Life, guardian: AsyncioRef) -> None:
        with contextlib.suppress(ActorDeadError):
            await guardian.request(Ping(), timeout=None)
            self._started = life

    def kill(self) -> None:
        """As `kill -9`: from here on nothing more is said, saved or ordered."""
        if self.wiring is not None and not self.life.over:
            self.trace.say("worker", "KILLED")
            self.life.over = True
            self.keeper.disconnect()
            self._killed.set()

    async def finalize_worker(self) -> None:
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
        self._restarted = self.life.leaving = True
        await shut_down(guardian, 60.0)
        await asyncio.sleep(30.0)

    def up(self) -> bool:
        """Whether there is a worker, and all its services are started."""
        is_started = self._started is self.life
        return self.wiring is not None and is_started and not self.life.over

    # -- the world -------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on beside the worker."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def happened(self) -> None:
        """The worker had an effect on the world: the moment to kill it, if planned."""
        self._effects += 1
        if self._effects in self.kill_points:
            self.kill()

    def _perform(self, process: ScriptedProcess) -> None:
        run_id = FlowRunId(process.order.env["PREFECT__FLOW_RUN_ID"])
        self.trace.say("process", process.identity.pid, "starts for", process.key)
        if (claim := claim_of_hooks(process.key)) is not None:
            self.judge(self.rules.on_hooks, process, claim)
            self.truth.hooks[claim] = process
            perform_hooks(process, self.hooks_rng)
            return
        self.processes.append(process)
        self.truth.processes[process.key] = process
        self.judge(self.rules.on_spawn, process)
        Performance(self.programs[run_id], process, self.server, self.clock)

    def has_given_up(self, claim: Request) -> bool:
        """Whether the claim is settled, so that nobody takes up what a copy of it begins."""
        run_id, proposal = claim.args
        record = self.records.records.get(claim_key(run_id, proposal.transition_id))
        return record is not None and record.phase is Phase.OVER

    def _written(self, write: Write) -> None:
        forced = "by force" if write.proposal.force else ""
        name = self.server.runs[write.run_id].run.name
        self.trace.say(write.author, name, write.before.name, "->", write.after.name, forced)
        self.judge(self.rules.on_write, write)
        if write.after.type is StateType.CANCELLING:
            self.truth.cancelled.add(write.run_id)
        self.truth.late[write.run_id] = write.after.id if write.late else None
        claims = write.author == "worker" and is_claim(write.proposal)
        if claims and write.before.type.is_terminal and not write.late:
            key = claim_key(write.run_id, write.proposal.transition_id)
            self.truth.revived[key] = write.before

    def saving(self, record: RunRecord) -> None:
        """A worker is about to save a record."""
        self.judge(self.rules.on_save, record)
        if self._kill_when_ending and record.reason in WISHED:
            self._kill_when_ending = False
            self.kill_points.add(self._effects + 1)  # that is, as soon as it is saved
        self.truth.note_record(record, now=self.clock.monotonic(), full=self.records.full)

    def end_ordered(self, key: ClaimKey, signal: int, grace_seconds: float) -> None:
        """The end of a run arrives at the keeper."""
        if claim_of_hooks(key) is None:
            self.judge(self.rules.on_order, key, signal, grace_seconds)

    def judge(self, checks: Iterable[Check], *what: Any) -> None:
        """Ask the rules of an occasion."""
        for check in checks:
            self.blame(check.__name__, check(self, *what))

    # -- what the wire tells -----------------------------------------------------------------

    def claim_arrives(self, run_id: FlowRunId) -> None:
        """Sometimes another worker is faster, and may even be through with the run by now."""
        if self.clock.monotonic() >= self.plan.calm_at:
            return
        if self.rivals_rng.random() < self.plan.overtaken:
            overtake(self, run_id, self.rivals_rng)

    def events_refused(self, error: OrchestratorError, life: Life) -> None:
        """Events were not taken: some are lost if nobody tries again."""
        if is_final(error) or life.leaving or life.over:
            self.truth.events_lost_at = self.clock.monotonic()

    def _stream_faults(self) -> StreamFaults:
        return NO_FAULTS if self.clock.monotonic() >= self.plan.calm_at else self.plan.stream

    def surprises(self) -> float:
        """How often something ends with an error that nobody has thought of."""
        return 0.0 if self.clock.monotonic() >= self.plan.calm_at else self.plan.surprises

    def _met_a_bug(self, what: str) -> None:
        """Its supervisor may fail, and the next one takes the run over.

        What it was to do once the record was saved is lost with it, events for instance.
        """
        self.truth.note_handover(self.clock.monotonic())
        if what in ("save", "note"):
            self.truth.events_lost_at = self.clock.monotonic()

    def is_undisturbed(self, seconds: float) -> bool:
        """Whether nothing of the worker's own was out of order for so long."""
        return self.clock.monotonic() > self.truth.disturbed_at + seconds

    def note_trouble(self) -> None:
        """The worker, or its way to the keeper, is not in order at the moment."""
        self.truth.disturbed_at = self.clock.monotonic()

    def rest(self) -> None:
        """Everything that can happen at this moment has happened."""
        if self.disk.stuck:
            self.truth.stuck_at = self.clock.monotonic()
        is_away = self.keeper_link.away or self.disk.stuck or self.measure.failure is not None
        if not self.up() or self.blocked_actors or is_away:
            self.note_trouble()
        self.judge(self.rules.at_rest)

    def bytes_of(self, process: ScriptedProcess) -> int:
        """What a process holds."""
        used = int(self.programs[flow_run_id_of(process.key)].holds_mb * MEBIBYTE)
        self.truth.peaks[process.key] = used
        return used

    def blame(self, rule: str, what: str | None) -> None:
        """Note that ``rule`` is broken, unless nothing is wrong."""
        if what is not None and not self.problems:
            self.problems.append(f"{rule}: {what}")
            self.trace.say("BROKEN", rule, what)
            self.in_trouble.set()


def _refuse(order: SpawnOrder) -> str | None:
    return "No such command: frobnicate" if order.argv[0] == "frobnicate" else None
