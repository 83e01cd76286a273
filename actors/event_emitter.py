"""Delivers the worker's events to Prefect's event system."""

from __future__ import annotations

import random

from .batch_sender import BatchSender
from .domain.model import WorkerEvent
from .domain.outbox import Outbox, json_bytes
from .domain.ports import Orchestrator
from .messages.deliveries import EmitEvent

EVENT_OVERHEAD_BYTES = 400
"""More than an event weighs on the wire beside its resources and its payload."""


class EventEmitter(BatchSender[WorkerEvent]):
    """Owns: the outbox of worker events: the 5,000 latest, delivered at once, in order."""

    def __init__(self, *, orchestrator: Orchestrator, rng: random.Random) -> None:
        super().__init__(
            what="events",
            outbox=Outbox(
                max_items=5_000,
                batch_items=200,
                batch_bytes=400_000,
                size_of=_size,
            ),
            deliver=orchestrator.send_events,
            pause_seconds=0.0,
            rng=rng,
        )

    def on_receive(self, message: object) -> None:
        """Orders to emit, and the BatchSender's own messages."""
        if isinstance(message, EmitEvent):
            self.enqueue(message.event)
        else:
            super().on_receive(message)


def _size(event: WorkerEvent) -> int:
    parts = [dict(event.resource), *map(dict, event.related), dict(event.payload)]
    return EVENT_OVERHEAD_BYTES + json_bytes(parts)
