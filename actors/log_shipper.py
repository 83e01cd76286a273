"""Delivers remarks about flow runs into their logs in the API."""

from __future__ import annotations

import random
from dataclasses import replace

from .courier import Courier
from .domain.model import LogLine
from .domain.outbox import Outbox
from .domain.ports import Clock, Orchestrator
from .messages.outbox import ShipLog

LINE_OVERHEAD_BYTES = 300
"""What a line weighs on the wire beside its message."""

CUT = "... [truncated]"


class LogShipper(Courier[LogLine]):
    """Owns: the outbox of run log lines: the 10,000 latest, delivered in batches.

    ``max_line_bytes`` and ``batch_bytes`` are the server's limits (contract 11), ``pause_seconds``
    how long lines are gathered before a batch is sent.
    """

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        rng: random.Random,
        pause_seconds: float = 2.0,
        batch_bytes: int = 3_000_000,
        max_line_bytes: int = 1_000_000,
    ) -> None:
        super().__init__(
            what="run_logs",
            outbox=Outbox(
                max_items=10_000, batch_items=1_000, batch_bytes=batch_bytes, size_of=_size
            ),
            deliver=orchestrator.send_logs,
            pause_seconds=pause_seconds,
            clock=clock,
            rng=rng,
        )
        self._max_line_bytes = max_line_bytes - LINE_OVERHEAD_BYTES

    def on_receive(self, message: object) -> None:
        """Orders to ship, and the courier's own messages."""
        if isinstance(message, ShipLog):
            self.collect(_cut(message.line, self._max_line_bytes))
        else:
            super().on_receive(message)


def _size(line: LogLine) -> int:
    # JSON escapes a character to six bytes at the worst.
    return LINE_OVERHEAD_BYTES + len(line.message.encode("utf-8", "replace"))


def _cut(line: LogLine, max_bytes: int) -> LogLine:
    text = line.message.encode("utf-8", "replace")
    if len(text) <= max_bytes:
        return line
    kept = text[: max_bytes - len(CUT)].decode("utf-8", "ignore")
    return replace(line, message=kept + CUT)
