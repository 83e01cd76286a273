"""A run's worker events, told from its record alone, so that a successor tells them alike."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from ..domain import worker_events
from ..domain.model import Resource, WorkerEvent
from ..domain.record import RunRecord
from .machine.effects import EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvents:
    """Builds events with ids that follow from the claim: a repeated event is the same event."""

    worker: Resource
    hostname: str

    def build(self, kind: EventKind, record: RunRecord, now: datetime) -> WorkerEvent:
        """The event of ``kind`` about ``record``'s run, occurring ``now``."""
        event_id = _event_id(kind, record)
        match kind:
            case EventKind.SUBMITTED:
                return worker_events.submitted(
                    self.worker, record.related, id=event_id, occurred=now
                )
            case EventKind.EXECUTED:
                return worker_events.executed(
                    self.worker,
                    record.related,
                    id=event_id,
                    occurred=now,
                    pid=record.pid,
                    code=None if record.exit is None else record.exit.code,
                    submitted=_submitted(record),
                    reason=record.reason,
                )
            case EventKind.CANCELLED:
                pid = None if record.pid is None else f"{self.hostname}:{record.pid}"
                return worker_events.cancelled(
                    self.worker,
                    record.related,
                    id=event_id,
                    occurred=now,
                    infrastructure_pid=pid,
                )
            case _:
                assert_never(kind)


def _submitted(record: RunRecord) -> worker_events.Preceding | None:
    if record.submitted_at is None:
        return None
    return worker_events.Preceding(_event_id(EventKind.SUBMITTED, record), record.submitted_at)


def _event_id(kind: EventKind, record: RunRecord) -> str:
    return str(uuid.uuid5(uuid.UUID(record.claim), f"event {kind}"))
