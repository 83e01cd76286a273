"""What goes to the server some time, in batches: worker events, and lines in the logs of runs."""

from __future__ import annotations

import logging
import random
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import structlog

from .domain.errors import is_final
from .domain.log_once import LogOnce
from .domain.model import LogLine, WorkerEvent
from .domain.outbox import Outbox, json_bytes
from .domain.policy import Backoff
from .domain.ports import Orchestrator
from .runtime import AsyncioActor

log = structlog.get_logger("actors.deliveries")

T = TypeVar("T")

BACKOFF = Backoff(initial=1.0, ceiling=60.0)

LINE_OVERHEAD_BYTES = 300
"""More than a line weighs on the wire beside its message."""

EVENT_OVERHEAD_BYTES = 400
"""More than an event weighs on the wire beside its resources and its payload."""

CUT = "... [truncated]"


@dataclass(frozen=True, slots=True)
class _Flush:
    """It is time for the next batch."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """The server has taken the batch; ``error``: it has not."""

    error: Exception | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSenderView:
    """What a BatchSender shows of itself."""

    waiting: int
    in_flight: int
    trouble: str | None
    """Why the last batch was not delivered; None: it was."""


class BatchSender(AsyncioActor, Generic[T]):
    """Owns: _outbox (what waits), _in_flight (the one batch that is being delivered).

    A batch that the server cannot take now is kept and tried again; one that it rejects is sent
    again item by item, so that a single bad item costs only itself. What waits is lost with the
    actor: events and remarks are worth an outage, not a crash. Whatever is lost is counted in
    the log, in lines that begin with ``what``.
    """

    what: ClassVar[str]

    def __init__(
        self,
        *,
        outbox: Outbox[T],
        deliver: Callable[[tuple[T, ...]], Awaitable[None]],
        pause_seconds: float,
        rng: random.Random,
    ) -> None:
        super().__init__()
        self._outbox = outbox
        self._deliver = deliver
        self._pause_seconds = pause_seconds
        self._rng = rng
        self._in_flight: tuple[T, ...] = ()
        self._is_flush_planned = False
        self._singly = 0
        """How many items of a rejected batch are to be sent one by one."""
        self._failures = 0
        self._trouble = LogOnce()

    def inspect(self) -> BatchSenderView:
        return BatchSenderView(
            waiting=len(self._outbox),
            in_flight=len(self._in_flight),
            trouble=self._trouble.reported,
        )

    def enqueue(self, item: T) -> None:
        """Take an item in, to be delivered within ``pause_seconds`` if all is well."""
        self._outbox.add(item)
        self._plan_flush(self._pause_seconds)

    def on_receive(self, message: object) -> None:
        """Subclasses pass items to :meth:`enqueue` and leave the rest to this."""
        match message:
            case _Flush():
                self._is_flush_planned = False
                self._in_flight = self._next_batch()
                self.pipe(self._deliver(self._in_flight), lambda _: _Answered(), _Answered)
            case _Answered(error=error):
                batch, self._in_flight = self._in_flight, ()
                self._plan_flush(self._pause_after(batch, error))
            case _:
                super().on_receive(message)

    def on_stop(self) -> Any:
        """One last attempt; the supervisor's shutdown time bounds it."""
        return self._deliver_rest()

    async def _deliver_rest(self) -> None:
        # What was on its way has been called off with the actor's waits: rather twice than never.
        self._outbox.put_back(self._in_flight)
        while batch := self._next_batch():
            try:
                await self._deliver(batch)
                self._singly = max(0, self._singly - len(batch))
            except Exception as error:
                if is_final(error):
                    self._rejected(batch, error)
                    continue
                self._outbox.put_back(batch)
                lost = len(self._outbox) + self._outbox.dropped
                log.warning(f"{self.what}.undelivered", lost=lost, error=str(error))
                return

    def _plan_flush(self, delay: float) -> None:
        if len(self._outbox) and not self._is_flush_planned and not self._in_flight:
            self._is_flush_planned = True
            self.after(delay, _Flush())

    def _next_batch(self) -> tuple[T, ...]:
        return self._outbox.batch(1 if self._singly else None)

    def _pause_after(self, batch: tuple[T, ...], error: Exception | None) -> float:
        """Note what became of a batch; return the seconds until the next one."""
        if error is None:
            self._singly = max(0, self._singly - len(batch))
            self._failures = 0
            self._log_recovery()
            return 0.0 if self._singly else self._pause_seconds
        if is_final(error):
            self._rejected(batch, error)
            return 0.0
        self._outbox.put_back(batch)
        waiting, dropped = len(self._outbox), self._outbox.dropped
        # logged once, and once more when it begins to cost something
        if self._trouble.report(f"{error}, {'losses' if dropped else 'no losses'}"):
            log.warning(f"{self.what}.delayed", waiting=waiting, dropped=dropped, error=str(error))
        self._failures += 1
        return BACKOFF.delay(self._failures, self._rng)

    def _rejected(self, batch: tuple[T, ...], error: Exception) -> None:
        if len(batch) > 1:
            self._singly = len(batch)
            self._outbox.put_back(batch)
        else:
            self._singly = max(0, self._singly - 1)
            self._outbox.dropped += 1
            log.error(f"{self.what}.rejected", error=str(error), dropped=self._take_losses())

    def _log_recovery(self) -> None:
        dropped, recovered = self._take_losses(), self._trouble.resolve()
        if dropped or recovered:
            level = logging.WARNING if dropped else logging.INFO
            log.log(level, f"{self.what}.recovered", waiting=len(self._outbox), dropped=dropped)

    def _take_losses(self) -> int:
        """How many were lost since the last line in the log about it."""
        dropped, self._outbox.dropped = self._outbox.dropped, 0
        return dropped


class EventEmitter(BatchSender[WorkerEvent]):
    """Owns: the outbox of worker events: the 5,000 latest, delivered at once, in order."""

    what = "events"

    def __init__(self, *, orchestrator: Orchestrator, rng: random.Random) -> None:
        super().__init__(
            outbox=Outbox(
                max_items=5_000, batch_items=200, batch_bytes=400_000, size_of=_size_of_event
            ),
            deliver=orchestrator.send_events,
            pause_seconds=0.0,
            rng=rng,
        )

    def on_receive(self, message: object) -> None:
        if isinstance(message, WorkerEvent):
            self.enqueue(message)
        else:
            super().on_receive(message)


class LogShipper(BatchSender[LogLine]):
    """Owns: the outbox of run log lines: the 10,000 latest, delivered in batches.

    ``max_line_bytes`` and ``batch_bytes`` are the server's limits, ``pause_seconds``
    how long lines are gathered before a batch is sent. Lines below ``level``, a number of Python's
    logging, are not sent: Prefect's worker goes by PREFECT_LOGGING_LEVEL here.
    """

    what = "run_logs"

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
            outbox=Outbox(
                max_items=10_000, batch_items=1_000, batch_bytes=batch_bytes, size_of=_size_of_line
            ),
            deliver=orchestrator.send_logs,
            pause_seconds=pause_seconds,
            rng=rng,
        )
        self._max_message_bytes = max_line_bytes - LINE_OVERHEAD_BYTES
        self._level = level

    def on_receive(self, message: object) -> None:
        if not isinstance(message, LogLine):
            super().on_receive(message)
        elif message.level >= self._level:
            self.enqueue(_cut(message, self._max_message_bytes))


def _size_of_event(event: WorkerEvent) -> int:
    parts = [dict(event.resource), *map(dict, event.related), dict(event.payload)]
    return EVENT_OVERHEAD_BYTES + json_bytes(parts)


def _size_of_line(line: LogLine) -> int:
    return LINE_OVERHEAD_BYTES + json_bytes(line.message)


def _cut(line: LogLine, max_bytes: int) -> LogLine:
    """``line`` with a message that takes at most ``max_bytes`` as JSON."""
    text = line.message
    if json_bytes(text) <= max_bytes:
        return line
    lengths = range(min(len(text), max_bytes))
    fitting = bisect_right(lengths, max_bytes, key=lambda length: json_bytes(text[:length] + CUT))
    return replace(line, message=text[: max(0, fitting - 1)] + CUT)
