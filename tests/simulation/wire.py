"""Between worker and server: requests and answers that are lost, late, doubled or mutilated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from actors.domain.errors import (
    Forbidden,
    InvalidRequest,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from actors.domain.model import Proposal
from actors.testing.orchestrator import InMemoryOrchestrator

from .life import Life
from .plan import Weather
from .server import WatchedServer
from .trace import Trace

Spawn = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request. ``lost``: it never arrives; ``error``: what the worker gets."""

    there: float
    back: float
    lost: bool = False
    error: OrchestratorError | None = None
    twice: bool = False


class Skies:
    """Draws the fate of each request; ``calm`` from the plan's time on."""

    def __init__(self, weather: Weather, calm_at: float, rng: Random) -> None:
        self._weather = weather
        self._calm_at = calm_at
        self._rng = rng

    def fate(self, now: float) -> Fate:
        weather, rng = self._weather, self._rng
        there, back = rng.uniform(0.005, 0.05), rng.uniform(0.005, 0.05)
        if now >= self._calm_at:
            return Fate(there, back)
        for start, end, kind in weather.outages:
            if start <= now < end:
                return Fate(there, back, lost=kind != "deaf", error=_outage(kind))
        if rng.random() < weather.slow:
            there, back = rng.choice(((there, 4.0), (4.0, back), (1.5, 1.5)))
        roll = rng.random()
        if roll < weather.lost:
            return Fate(there, back, lost=True, error=Unavailable("the request was lost"))
        roll -= weather.lost
        if roll < weather.unanswered:
            return Fate(there, back, error=Unavailable("no answer came"))
        roll -= weather.unanswered
        if roll < weather.garbled:
            wrong = InvalidRequest("a proxy found it wrong", status=400)
            return Fate(there, back, lost=rng.random() < 0.7, error=wrong)
        return Fate(there, back, twice=rng.random() < weather.repeated)


def _outage(kind: str) -> OrchestratorError:
    match kind:
        case "unauthorized":
            return Unauthorized("the key was rotated", status=401)
        case "forbidden":
            return Forbidden("not allowed now", status=403)
        case _:
            return Unavailable("the server is away", status=503)


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
        skies: Skies,
        trace: Trace,
        spawn: Spawn,
        happened: Callable[[], None],
    ) -> None:
        self._server = server
        self._world = world
        self._life = life
        self._skies = skies
        self._trace = trace
        self._spawn = spawn
        self._happened = happened

    def __getattr__(self, operation: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        return partial(self._call, operation)

    async def _call(self, operation: str, *args: Any, **options: Any) -> Any:
        self._life.gate()
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        fate = self._skies.fate(loop.time())
        self._spawn(self._carry(fate, reply, operation, args, options))
        return await reply

    async def _carry(
        self,
        fate: Fate,
        reply: asyncio.Future[Any],
        operation: str,
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        await asyncio.sleep(fate.there)
        result: Any = None
        error = fate.error
        if not fate.lost:
            effect = partial(getattr(self._server, operation), *args, **options)
            try:
                result = await self._effect(operation, effect, args)
                if fate.twice and operation == "propose_state" and not args[1].force:
                    result = await self._effect(operation, effect, args)
            except OrchestratorError as refusal:
                error = error or refusal
        if error is not None or operation == "propose_state":
            self._trace.say("wire", operation, _words(args), "->", _outcome(fate, result, error))
        if not fate.lost:
            self._happened()
        await asyncio.sleep(fate.back)
        if not reply.done():
            if error is not None:
                reply.set_exception(error)
            else:
                reply.set_result(result)

    async def _effect(
        self, operation: str, effect: Callable[[], Coroutine[Any, Any, Any]], args: tuple[Any, ...]
    ) -> Any:
        # In one piece: the server in memory never waits.
        self._world.author = "worker"
        try:
            result = await effect()
        finally:
            self._world.author = "others"
        if operation in ("read_flow_run", "propose_state"):
            self._world.looked(args[0])
        elif operation in ("read_due_runs", "read_cancelling_runs"):
            for run in result:
                self._world.looked(run.id)
        return result


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
