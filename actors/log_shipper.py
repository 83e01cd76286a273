"""Delivers remarks about flow runs into their logs in the API."""

from __future__ import annotations

import logging
import random
from bisect import bisect_right
from dataclasses import replace

from .batch_sender import BatchSender
from .domain.model import LogLine
from .domain.outbox import Outbox, json_bytes
from .domain.ports import Orchestrator
from .messages.deliveries import ShipLog

LINE_OVERHEAD_BYTES = 300
"""More than a line weighs on the wire beside its message."""

CUT = "... [truncated]"


class LogShipper(BatchSender[LogLine]):
    """Owns: the outbox of run log lines: the 10,000 latest, delivered in batches.

    ``max_line_bytes`` and ``batch_bytes`` are the server's limits, ``pause_seconds``
    how long lines are gathered before a batch is sent. Lines below ``level``, a number of Python's
    logging, are not sent: Prefect's worker goes by PREFECT_LOGGING_LEVEL here.
    """

    def __init__(
        self,
        *,
        orchestrator: Orchestrator,
        rng: random.Random,
        pause_seconds: float = 2.0,
        batch_bytes: int = 3_000_000,
        max_line_bytes: int = 1_000_000,
        level: int = logging.INFO,
    ) -> None:
        super().__init__(
            what="run_logs",
            outbox=Outbox(
                max_items=10_000, batch_items=1_000, batch_bytes=batch_bytes, size_of=_size
            ),
            deliver=orchestrator.send_logs,
            pause_seconds=pause_seconds,
            rng=rng,
        )
        self._max_message_bytes = max_line_bytes - LINE_OVERHEAD_BYTES
        self._level = level

    def on_receive(self, message: object) -> None:
        """Orders to ship, and the BatchSender's own messages."""
        if not isinstance(message, ShipLog):
            super().on_receive(message)
        elif message.line.level >= self._level:
            self.enqueue(_cut(message.line, self._max_message_bytes))


def _size(line: LogLine) -> int:
    return LINE_OVERHEAD_BYTES + json_bytes(line.message)


def _cut(line: LogLine, max_bytes: int) -> LogLine:
    """``line`` with a message that takes at most ``max_bytes`` as JSON."""
    text = line.message
    if json_bytes(text) <= max_bytes:
        return line
    lengths = range(min(len(text), max_bytes))
    fitting = bisect_right(lengths, max_bytes, key=lambda length: json_bytes(text[:length] + CUT))
    return replace(line, message=text[: max(0, fitting - 1)] + CUT)
