"""Between worker and server: requests and answers that are lost, late, doubled or mutilated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Protocol

from actors.domain.errors import (
    Forbidden,
    InvalidRequest,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from actors.domain.ids import FlowRunId
from actors.domain.model import Proposal
from actors.testing.orchestrator import InMemoryOrchestrator

from .bugs import Bugs, name_of
from .life import Life
from .plan import FaultRates
from .server import Look, Request, WatchedServer
from .trace import Trace

Spawn = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request. ``lost``: it never arrives; ``error``: what the worker gets.

    ``late``: so long after the worker was told that it is lost it arrives all the same.
    """

    there: float
    back: float
    lost: bool = False
    error: OrchestratorError | None = None
    twice: bool = False
    late: float | None = None


class FaultyNetwork:
    """Draws the fate of each request; ``calm`` from the plan's time on."""

    def __init__(self, fault_rates: FaultRates, calm_at: float, rng: Random) -> None:
        self._fault_rates = fault_rates
        self._calm_at = calm_at
        self._rng = rng

    def fate(self, now: float) -> Fate:
        fault_rates, rng = self._fault_rates, self._rng
        there, back = rng.uniform(0.005, 0.05), rng.uniform(0.005, 0.05)
        if now >= self._calm_at:
            return Fate(there, back)
        for start, end, kind in fault_rates.outages:
            if start <= now < end:
                return Fate(there, back, lost=kind != "deaf", error=_outage(kind))
        if rng.random() < fault_rates.slow:
            there, back = rng.choice(((there, 4.0), (4.0, back), (1.5, 1.5)))
        roll = rng.random()
        if roll < fault_rates.lost:
            return Fate(there, back, lost=True, error=Unavailable("the request was lost"))
        roll -= fault_rates.lost
        if roll < fault_rates.unanswered:
            return Fate(there, back, error=Unavailable("no answer came"))
        roll -= fault_rates.unanswered
        if roll < fault_rates.garbled:
            wrong = InvalidRequest("a proxy found it wrong", status=400)
            return Fate(there, back, lost=rng.random() < 0.7, error=wrong)
        roll -= fault_rates.garbled
        if roll < fault_rates.late:
            away = Unavailable("no answer came in time")
            return Fate(there, back, lost=True, error=away, late=rng.uniform(1.0, 60.0))
        return Fate(there, back, twice=rng.random() < fault_rates.repeated)


def _outage(kind: str) -> OrchestratorError:
    match kind:
        case "unauthorized":
            return Unauthorized("the key was rotated", status=401)
        case "forbidden":
            return Forbidden("not allowed now", status=403)
        case _:
            return Unavailable("the server is away", status=503)


class World(Protocol):
    """What a wire tells the rest of the simulation."""

    def claim_arrives(self, run_id: FlowRunId) -> None:
        """A claim is about to arrive at the server."""

    def has_given_up(self, claim: Request) -> bool:
        """Whether the claim is settled, so that nobody takes up what a copy of it begins."""

    def events_refused(self, error: OrchestratorError, life: Life) -> None:
        """Events were not taken."""

    def happened(self) -> None:
        """Something has arrived at the server, or on the disk, or at the keeper."""


class Wire:
    """The Orchestrator port of one life of the worker, operation by operation.

    A request that left a worker arrives also when that worker was killed meanwhile.
    """

    def __init__(
        self,
        server: InMemoryOrchestrator,
        world: WatchedServer,
        *,
        life: Life,
        network: FaultyNetwork,
        trace: Trace,
        spawn: Spawn,
        sim: World,
        bugs: Bugs,
    ) -> None:
        self._bugs = bugs
        self._server = server
        self._world = world
        self._sim = sim
        self._looks: dict[FlowRunId, Look] = {}
        """What the worker was last shown of each run, by an answer that came."""
        self._life = life
        self._network = network
        self._trace = trace
        self._spawn = spawn

    def __getattr__(self, operation: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        return partial(self._call, operation)

    async def _call(self, operation: str, *args: Any, **options: Any) -> Any:
        self._life.gate()
        what = name_of(operation, args)
        if what is None:
            return await self._send(operation, *args, **options)
        self._bugs.meet(what, args[0], "before")
        result = await self._send(operation, *args, **options)
        self._bugs.meet(what, args[0], "after")
        return result

    async def _send(self, operation: str, *args: Any, **options: Any) -> Any:
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        request = Request(operation, args, partial(getattr(self._server, operation), **options))
        if request.is_proposal:
            request.look = self._looks.get(args[0])
            request.sent_at = loop.time()
        self._spawn(self._carry(self._network.fate(loop.time()), reply, request))
        return await reply

    async def _carry(self, fate: Fate, reply: asyncio.Future[Any], request: Request) -> None:
        await asyncio.sleep(fate.there)
        result: Any = None
        error = fate.error
        request.is_orphan = reply.done()
        if not fate.lost:
            if request.is_claim and request.is_orphan and self._sim.has_given_up(request):
                request.is_late = True
            if request.is_claim:
                self._sim.claim_arrives(request.args[0])
            try:
                result = await self._effect(request)
                if fate.twice and request.is_proposal and not request.args[1].force:
                    result = await self._effect(request)
            except OrchestratorError as refusal:
                error = error or refusal
        looks = self._seen(request, result)
        if error is not None or request.is_proposal:
            self._say(request, _outcome(fate, result, error))
        if error is not None and request.operation == "send_events":
            self._sim.events_refused(error, self._life)
        if not fate.lost:
            self._sim.happened()
        await asyncio.sleep(fate.back)
        if not reply.done():
            if error is not None:
                reply.set_exception(error)
            else:
                self._looks.update(looks)
                reply.set_result(result)
        if fate.late is not None:
            await self._arrive_late(fate.late, request)

    async def _arrive_late(self, seconds: float, request: Request) -> None:
        await asyncio.sleep(seconds)
        request.is_late = True
        try:
            result = await self._effect(request)
        except OrchestratorError as refusal:
            self._say(request, f"late, {refusal}")
        else:
            self._say(request, f"late, {_words((result,))}")

    async def _effect(self, request: Request) -> Any:
        # In one piece: the server in memory never waits.
        self._world.request = request
        try:
            return await request.effect(*request.args)
        finally:
            self._world.request = None

    def _seen(self, request: Request, result: Any) -> dict[FlowRunId, Look]:
        """What an answer shows, if it comes."""
        if request.operation in ("read_flow_run", "propose_state"):
            return self._world.look(request.args[:1])
        if request.operation == "read_due_runs":
            return self._world.look(run.id for run in (result.runs if result else ()))
        if request.operation in ("read_scheduled_runs", "read_cancelling_runs"):
            return self._world.look(run.id for run in result or ())
        return {}

    def _say(self, request: Request, outcome: str) -> None:
        self._trace.say("wire", request.operation, _words(request.args), "->", outcome)


def _words(args: tuple[Any, ...]) -> str:
    return " ".join(_word(arg) for arg in args[:2])


def _word(arg: object) -> str:
    match arg:
        case Proposal():
            return f"{arg.name}{' by force' if arg.force else ''} ({arg.transition_id[:8]})"
        case str():
            return arg
        case _:
            return f"<{type(arg).__name__}>"


def _outcome(fate: Fate, result: object, error: OrchestratorError | None) -> str:
    if error is not None:
        return f"{'lost' if fate.lost else 'done'}, {type(error).__name__}: {error}"
    state = getattr(result, "state", None)
    return f"{type(result).__name__} {'' if state is None else state.name}"
