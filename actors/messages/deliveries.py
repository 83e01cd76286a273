"""What is to be delivered to the server some time, by the EventEmitter and the LogShipper."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.model import LogLine, WorkerEvent


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Order to the EventEmitter."""

    event: WorkerEvent


@dataclass(frozen=True, slots=True)
class ShipLog:
    """Order to the LogShipper."""

    line: LogLine
