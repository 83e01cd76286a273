"""What EventEmitter and LogShipper have in common: deliver in order, in batches, some time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from .domain.errors import is_final
from .domain.log_once import LogOnce
from .domain.outbox import Outbox
from .domain.policy import Backoff
from .runtime import AsyncioActor

log = structlog.get_logger("actors.batch_sender")

T = TypeVar("T")

BACKOFF = Backoff(initial=1.0, ceiling=60.0)


@dataclass(frozen=True, slots=True)
class _Flush:
    pass


@dataclass(frozen=True, slots=True)
class _Delivered:
    count: int


@dataclass(frozen=True, slots=True)
class _Undelivered(Generic[T]):
    batch: tuple[T, ...]
    error: Exception


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
    the log.
    """

    def __init__(
        self,
        *,
        what: str,
        outbox: Outbox[T],
        deliver: Callable[[tuple[T, ...]], Awaitable[None]],
        pause_seconds: float,
        rng: random.Random,
    ) -> None:
        super().__init__()
        self._what = what
        self._outbox = outbox
        self._deliver = deliver
        self._pause_seconds = pause_seconds
        self._in_flight: tuple[T, ...] = ()
        self._armed = False
        self._singly = 0
        self._rng = rng
        self._failures = 0
        self._complaint = LogOnce()

    def inspect(self) -> BatchSenderView:
        return BatchSenderView(
            waiting=len(self._outbox),
            in_flight=len(self._in_flight),
            trouble=self._complaint.reported,
        )

    def enqueue(self, item: T) -> None:
        """Take an item in, to be delivered within ``pause_seconds`` if all is well."""
        self._outbox.add(item)
        self._arm(self._pause_seconds)

    def on_receive(self, message: object) -> None:
        """Subclasses turn their orders into :meth:`enqueue` and leave the rest to this."""
        match message:
            case _Flush():
                self._armed = False
                self._flush()
            case _Delivered(count=count):
                self._in_flight = ()
                self._singly = max(0, self._singly - count)
                self._failures = 0
                self._log_recovery()
                self._arm(0.0 if self._singly else self._pause_seconds)
            case _Undelivered(batch=batch, error=error):
                self._in_flight = ()
                self._undelivered(batch, error)
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
                log.warning(f"{self._what}.undelivered", lost=lost, error=str(error))
                return

    def _arm(self, delay: float) -> None:
        if len(self._outbox) and not self._armed and not self._in_flight:
            self._armed = True
            self.after(delay, _Flush())

    def _next_batch(self) -> tuple[T, ...]:
        return self._outbox.batch(1 if self._singly else None)

    def _flush(self) -> None:
        if self._in_flight:
            return
        batch = self._next_batch()
        if batch:
            self._in_flight = batch
            self.pipe(
                self._deliver(batch),
                on_result=lambda _: _Delivered(len(batch)),
                on_error=lambda error: _Undelivered(batch, error),
            )

    def _undelivered(self, batch: tuple[T, ...], error: Exception) -> None:
        if is_final(error):
            self._rejected(batch, error)
            self._arm(0.0)
            return
        self._outbox.put_back(batch)
        dropped = self._outbox.dropped
        # said once, and once more when it begins to cost something
        if self._complaint.report(f"{error}, {'losses' if dropped else 'no losses'}"):
            log.warning(
                f"{self._what}.delayed",
                waiting=len(self._outbox),
                dropped=dropped,
                error=str(error),
            )
        self._failures += 1
        self._arm(BACKOFF.delay(self._failures, self._rng))

    def _rejected(self, batch: tuple[T, ...], error: Exception) -> None:
        if len(batch) > 1:
            self._singly = len(batch)
            self._outbox.put_back(batch)
        else:
            self._singly = max(0, self._singly - 1)
            self._outbox.discard(1)
            log.error(f"{self._what}.rejected", error=str(error), dropped=self._take_losses())

    def _log_recovery(self) -> None:
        dropped, recovered = self._take_losses(), self._complaint.resolve()
        if dropped:
            log.warning(f"{self._what}.recovered", waiting=len(self._outbox), dropped=dropped)
        elif recovered:
            log.info(f"{self._what}.recovered", waiting=len(self._outbox), dropped=0)

    def _take_losses(self) -> int:
        """How many were lost since the last line in the log about it."""
        dropped, self._outbox.dropped = self._outbox.dropped, 0
        return dropped
