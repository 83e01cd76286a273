"""What is published of a run beside its states: events, and lines in its log.

The run goes on without them, so a bug here costs what was to be published, and a line in our log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ..domain.ids import FlowRunId
from ..domain.model import LogLine
from ..domain.record import RunRecord
from ..domain.worker_events import EventKind, run_event
from ..messages.deliveries import EmitEvent, ShipLog
from .machine.effects import Remark
from .output import RunOutput
from .ports import SupervisorPorts


class Publisher:
    """A part of ProcessSupervisor. Never raises."""

    def __init__(self, ports: SupervisorPorts, output: RunOutput, run_id: FlowRunId) -> None:
        self._ports = ports
        self._output = output
        self._run_id = run_id

    def emit(self, kind: EventKind, record: RunRecord) -> None:
        """Emit a worker event about the run."""

        def emit() -> None:
            ports = self._ports
            event = run_event(
                kind,
                record,
                worker=ports.resource,
                hostname=ports.hostname,
                occurred=ports.clock.now(),
            )
            ports.peers.event_emitter.tell(EmitEvent(event))

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
