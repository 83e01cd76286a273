"""The event stream of a simulation: events are lost, late or doubled, and connections end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from actors.domain.errors import Forbidden, OrchestratorError, Unavailable
from actors.domain.ports import Clock
from actors.domain.server_events import ServerEvent, ServerEventKind
from actors.testing.event_stream import InMemoryEventStream

from .life import Life
from .server import WatchedServer


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFaults:
    """How likely an event is lost, late or comes twice; how likely a subscription is refused."""

    lost: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    refused: float = 0.0


NO_FAULTS = StreamFaults()


class FaultyStream(InMemoryEventStream):
    """``faults`` tells what may go wrong at present."""

    def __init__(
        self, world: WatchedServer, clock: Clock, rng: Random, faults: Callable[[], StreamFaults]
    ) -> None:
        super().__init__(world)
        self._clock = clock
        self._rng = rng
        self._faults = faults
        self.changed_at = 0.0
        """When a subscription began or ended last."""
        self.proved = False
        """Whether a worker's own event came back since then."""

    def cut(self, error: Any = None) -> None:
        self._changed()
        super().cut(error)

    @asynccontextmanager
    async def subscribe(
        self, pool_id: str, queues: Collection[str]
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        await self._clock.sleep(self._rng.uniform(0.005, 0.05))
        if self._rng.random() < self._faults().refused:
            raise self._rng.choice((Unavailable("no answer"), Forbidden("no", status=403)))
        self._changed()
        try:
            async with super().subscribe(pool_id, queues) as events:
                yield events
        finally:
            self._changed()

    def pass_on(self, event: ServerEvent, to: Any) -> None:
        faults, rng = self._faults(), self._rng
        if rng.random() < faults.lost:
            return
        delay = rng.uniform(0.005, 0.1)
        if rng.random() < faults.late:
            delay += rng.uniform(1.0, 90.0)

        def arrive() -> None:
            self.proved |= event.kind is ServerEventKind.LISTENING
            to.put_nowait(event)

        for _ in range(1 + (rng.random() < faults.twice)):
            self._clock.call_later(delay, arrive)

    def _changed(self) -> None:
        self.changed_at, self.proved = self._clock.monotonic(), False


class LifeStream:
    """The EventStream port of one life of the worker."""

    def __init__(self, stream: FaultyStream, life: Life) -> None:
        self._stream = stream
        self._life = life

    @asynccontextmanager
    async def subscribe(
        self, pool_id: str, queues: Collection[str]
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        self._life.gate()
        async with self._stream.subscribe(pool_id, queues) as events:
            yield events


def without_an_end(subscribe: Any) -> Any:
    """A ``subscribe`` whose events just stop when the connection ends."""

    async def endless(events: Any) -> Any:
        with suppress(OrchestratorError):
            async for event in events:
                yield event
        await asyncio.Event().wait()

    @asynccontextmanager
    async def instead(self: Any, *args: Any) -> Any:
        async with subscribe(self, *args) as events:
            yield endless(events)

    return instead
