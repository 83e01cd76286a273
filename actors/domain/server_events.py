"""What the server's event stream tells about a work pool, with the names that Prefect uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .ids import FlowRunId


class ServerEventKind(StrEnum):
    """What an event means to a worker."""

    WORK = "work"
    """A run may have become due, or there may be room for one: poll."""
    CANCELLING = "cancelling"
    """A run is to be cancelled."""
    LISTENING = "listening"
    """A worker's own event has come back: what the server is told does reach its stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """Something that has happened in the work pool, in one of the queues that are served."""

    id: str
    kind: ServerEventKind
    run_id: FlowRunId | None = None
    """The flow run that it happened to."""


LISTENING: Final = "actor-worker.listening"
"""The event that a worker emits to see whether it comes back."""

KINDS: Final[Mapping[str, ServerEventKind]] = {
    "prefect.flow-run.Cancelling": ServerEventKind.CANCELLING,
    LISTENING: ServerEventKind.LISTENING,
    **dict.fromkeys(
        (
            "prefect.flow-run.Scheduled",
            "prefect.flow-run.Late",
            "prefect.flow-run.AwaitingRetry",
            "prefect.flow-run.Resuming",
            # A pool or queue that is resumed becomes ready, or not ready while nobody polls it.
            "prefect.work-pool.ready",
            "prefect.work-pool.not-ready",
            "prefect.work-pool.updated",
            "prefect.work-queue.ready",
            "prefect.work-queue.not-ready",
            "prefect.work-queue.updated",
        ),
        ServerEventKind.WORK,
    ),
}
"""The meaning of each event by its name.

Not AwaitingConcurrencySlot: it follows from each refused claim, so a worker that polled for it
would claim and be refused without end.
"""
