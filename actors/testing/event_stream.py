"""The event stream of a Prefect server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from ..domain.errors import OrchestratorError, Unavailable
from ..domain.server_events import KINDS, ServerEvent
from .prefect_world import PrefectWorld
from .world_items import Event

_Queue = asyncio.Queue[ServerEvent | OrchestratorError]


class InMemoryEventStream:
    """The :class:`~actors.domain.ports.EventStream` port over a :class:`PrefectWorld`.

    ``refusal`` is what a subscription is answered with; None: it is accepted.
    """

    def __init__(self, world: PrefectWorld) -> None:
        self.refusal: OrchestratorError | None = None
        self._world = world
        self._open: list[_Queue] = []

    @property
    def subscriptions(self) -> int:
        """How many are open."""
        return len(self._open)

    def cut(self, error: OrchestratorError | None = None) -> None:
        """End all subscriptions."""
        for queue in self._open:
            queue.put_nowait(error or Unavailable("the event stream was cut"))
        self._open = []

    @asynccontextmanager
    async def subscribe(
        self, pool_id: str, queues: Collection[str]
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        if self.refusal is not None:
            raise self.refusal
        events: _Queue = asyncio.Queue()

        def hear(event: Event) -> None:
            kind = KINDS.get(event.name)
            is_served = not queues or event.queue is None or event.queue in queues
            if (
                kind is not None
                and event.pool_id == pool_id
                and is_served
                and events in self._open
            ):
                self.pass_on(ServerEvent(id=event.id, kind=kind, run_id=event.run_id), events)

        self._open.append(events)
        self._world.listeners.append(hear)
        try:
            yield _told(events)
        finally:
            self._world.listeners.remove(hear)
            self._open = [each for each in self._open if each is not events]

    def pass_on(self, event: ServerEvent, to: _Queue) -> None:
        """Tell a subscriber."""
        to.put_nowait(event)


async def _told(events: _Queue) -> AsyncIterator[ServerEvent]:
    seen: set[str] = set()
    while True:
        event = await events.get()
        if not isinstance(event, ServerEvent):
            raise event
        if event.id not in seen:
            seen.add(event.id)
            yield event
