"""What is published of a run beside its states: events, and lines in its log.

The run goes on without them, so a bug here costs what was to be published, and a line in our log.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from ..domain import worker_events
from ..domain.ids import FlowRunId
from ..domain.model import LogLine, Resource, WorkerEvent
from ..domain.record import RunRecord
from ..messages.deliveries import EmitEvent, ShipLog
from .machine.effects import EventKind, Remark
from .output import RunOutput
from .ports import SupervisorPorts


class Publisher:
    """A part of ProcessSupervisor. Never raises."""

    def __init__(self, ports: SupervisorPorts, output: RunOutput, run_id: FlowRunId) -> None:
        self._ports = ports
        self._output = output
        self._run_id = run_id
        self._events = RunEvents(worker=ports.resource, hostname=ports.hostname)

    def emit(self, kind: EventKind, record: RunRecord) -> None:
        """Emit a worker event about the run."""

        def emit() -> None:
            event = self._events.build(kind, record, self._ports.clock.now())
            self._ports.peers.event_emitter.tell(EmitEvent(event))

        self._attempt("event", emit)

    def remark(self, remark: Remark) -> None:
        """Write a line into the worker's log and, unless it is local, the run's log in the API."""

        def write() -> None:
            text = self._output.mask(remark.text)
            self._output.log.log(remark.level, "run.remark", text=text)
            if not remark.local:
                self._ship(remark.level, text)

        self._attempt("remark", write)

    def ship(self, lines: Iterable[str]) -> None:
        """Write lines of the run's output into its log in the API."""

        def ship() -> None:
            for line in lines:
                self._ship(logging.INFO, line)

        self._attempt("output", ship)

    def _ship(self, level: int, text: str) -> None:
        now = self._ports.clock.now()
        line = LogLine(flow_run_id=self._run_id, level=level, message=text, timestamp=now)
        self._ports.peers.log_shipper.tell(ShipLog(line))

    def _attempt(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._output.log_bug(what, error)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvents:
    """Builds a run's worker events from its record alone, so that a successor builds the same.

    Their ids follow from the claim: a repeated event is the same event.
    """

    worker: Resource
    hostname: str

    def build(self, kind: EventKind, record: RunRecord, now: datetime) -> WorkerEvent:
        """The event of ``kind`` about ``record``'s run, occurring ``now``."""
        worker, related, event_id = self.worker, record.related, _event_id(kind, record)
        match kind:
            case EventKind.SUBMITTED:
                return worker_events.submitted(worker, related, id=event_id, occurred=now)
            case EventKind.EXECUTED:
                return worker_events.executed(
                    worker,
                    related,
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
                    worker, related, id=event_id, occurred=now, infrastructure_pid=pid
                )
            case _:
                assert_never(kind)


def _submitted(record: RunRecord) -> worker_events.Preceding | None:
    if record.submitted_at is None:
        return None
    return worker_events.Preceding(_event_id(EventKind.SUBMITTED, record), record.submitted_at)


def _event_id(kind: EventKind, record: RunRecord) -> str:
    return str(uuid.uuid5(uuid.UUID(record.claim), f"event {kind}"))
