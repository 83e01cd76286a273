"""What is published of a run beside its states: events, and lines in its log.

The run goes on without them, so a bug here costs what was to be published, and a line in our log.
"""

from __future__ import annotations

import logging

from ..domain.ids import FlowRunId
from ..domain.model import LogLine
from ..domain.record import RunRecord
from ..domain.worker_events import run_event
from .machine.effects import Emit, Remark
from .output import RunOutput
from .ports import SupervisorPorts


class Publisher:
    """A part of ProcessSupervisor. Never raises."""

    def __init__(self, ports: SupervisorPorts, output: RunOutput, run_id: FlowRunId) -> None:
        self._ports = ports
        self._output = output
        self._run_id = run_id

    def publish(self, effect: Emit | Remark, record: RunRecord) -> None:
        """Emit a worker event, or write a line into the worker's log and the run's in the API."""
        try:
            if isinstance(effect, Emit):
                event = run_event(
                    effect.kind,
                    record,
                    worker=self._ports.resource,
                    hostname=self._ports.hostname,
                    occurred=self._ports.clock.now(),
                )
                self._ports.peers.event_emitter.tell(event)
            else:
                text = self._output.mask(effect.text)
                self._output.log.log(effect.level, "run.remark", text=text)
                if not effect.local:
                    self.ship(text, effect.level)
        except Exception as error:
            self._output.log_bug(type(effect).__name__, error)

    def ship(self, text: str, level: int = logging.INFO) -> None:
        """Write a line into the run's log in the API."""
        now = self._ports.clock.now()
        line = LogLine(flow_run_id=self._run_id, level=level, message=text, timestamp=now)
        self._ports.peers.log_shipper.tell(line)
