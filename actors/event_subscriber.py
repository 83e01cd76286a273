"""Listens to the server's events, so that nobody need wait for the next poll."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from .domain.errors import Refused, Unavailable
from .domain.log_once import LogOnce
from .domain.model import Resource, WorkPool
from .domain.policy import Backoff
from .domain.ports import Clock, EventStream
from .domain.server_events import ServerEvent, ServerEventKind
from .domain.worker_events import listening
from .messages.cancellation_watcher import EventsFlow, LookNow, RunCancelling
from .messages.heartbeater import CurrentPool, PoolSnapshot, PoolSynced
from .messages.poller import PollNow
from .messages.services import Peers
from .runtime import AsyncioActor, Timer

log = structlog.get_logger("actors.event_subscriber")

BACKOFF: Final = Backoff(initial=1.0, ceiling=300.0)

ASK_TIMEOUT_SECONDS: Final = 10.0

HEALTHY_SECONDS: Final = 60.0
"""A subscription that has lasted for so long makes failures before it forgotten."""

PROOF_SECONDS: Final = 60.0
"""How long the worker's own event may take to come back."""

SPREAD_SECONDS: Final = 0.2
"""Workers that hear of the same event poll within so long of each other."""

WAKE_PAUSE_SECONDS: Final = 1.0
"""Between two polls that events ask for."""


@dataclass(frozen=True, slots=True)
class _PoolKnown:
    """What the Heartbeater knows of the pool; None: nothing so far."""

    snapshot: PoolSnapshot | None


@dataclass(frozen=True, slots=True)
class _Subscribe:
    """It is time to try again."""


@dataclass(frozen=True, slots=True)
class _Connected:
    """``subscription``, here and below: the number of the one that it is about."""

    subscription: int


@dataclass(frozen=True, slots=True)
class _Heard:
    subscription: int
    event: ServerEvent


@dataclass(frozen=True, slots=True)
class _ProofOverdue:
    """The worker's own event should have come back by now."""

    subscription: int


@dataclass(frozen=True, slots=True)
class _Ended:
    subscription: int
    error: Exception


@dataclass(frozen=True, slots=True)
class _WakePoller:
    """The spread of a poll that events ask for is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSubscriberView:
    """What the EventSubscriber shows of itself."""

    connected_since: float | None
    """On the monotonic clock; None: there is no connection."""
    flowing: bool
    """Whether the worker's own event has come back over this connection."""
    failures: int
    """Connections in a row that failed or did not last."""
    trouble: str | None
    """Why there is no connection."""


class EventSubscriber(AsyncioActor):
    """Owns: _pool (whose events it hears), _following (the subscription, by _number),
    _connected_since, _proof (the id of its own event) and _flowing (whether that came back),
    _failures (for the back-off) and when the Poller is woken.

    A new connection proves nothing yet: the server may not have read the filter, may have no
    events, or may be several servers that do not share them. So the worker emits an event of its
    own, and only when that comes back are the looks for cancellations less frequent.

    A restarted one asks the Heartbeater which pool it is, and subscribes anew.
    """

    def __init__(
        self,
        *,
        stream: EventStream,
        queues: tuple[str, ...],
        worker: Resource,
        new_id: Callable[[], str],
        clock: Clock,
        rng: random.Random,
        peers: Peers,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._queues = queues
        self._worker = worker
        self._new_id = new_id
        self._clock = clock
        self._rng = rng
        self._peers = peers
        self._pool: WorkPool | None = None
        self._number = 0
        self._following: asyncio.Task[None] | None = None
        self._next_attempt: Timer | None = None
        self._connected_since: float | None = None
        self._proof = ""
        self._flowing = False
        self._failures = 0
        self._trouble = LogOnce()
        self._wakes = False
        self._may_wake_at = clock.monotonic()

    def inspect(self) -> EventSubscriberView:
        return EventSubscriberView(
            connected_since=self._connected_since,
            flowing=self._flowing,
            failures=self._failures,
            trouble=self._trouble.reported,
        )

    def on_start(self) -> None:
        self.pipe(
            self._peers.heartbeater.request(CurrentPool(), timeout=ASK_TIMEOUT_SECONDS),
            on_result=_PoolKnown,
            on_error=lambda _: _PoolKnown(None),  # the next heartbeat tells
        )

    def on_receive(self, message: object) -> None:
        match message:
            case PoolSynced(pool=pool) | _PoolKnown(snapshot=PoolSnapshot(pool=pool)):
                self._pool_synced(pool)
            case _PoolKnown():
                pass
            case _Subscribe():
                self._subscribe()
            case _WakePoller():
                self._wakes = False
                self._may_wake_at = self._clock.monotonic() + WAKE_PAUSE_SECONDS
                self._peers.poller.tell(PollNow())
            case _Connected() | _Heard() | _ProofOverdue() | _Ended():
                if message.subscription == self._number:
                    self._about_subscription(message)
            case _:
                super().on_receive(message)

    def _about_subscription(self, message: _Connected | _Heard | _ProofOverdue | _Ended) -> None:
        match message:
            case _Connected():
                self._connected()
            case _Heard(event=event):
                self._heard(event)
            case _ProofOverdue() if not self._flowing:
                self._lost(
                    Refused("the server's event stream does not bring back what it is told")
                )
            case _ProofOverdue():
                pass
            case _Ended(error=error):
                self._lost(error)

    # -- the subscription ------------------------------------------------------------------------

    def _pool_synced(self, pool: WorkPool) -> None:
        """A pool that was deleted and created again has another id."""
        is_new = self._pool is None or pool.id != self._pool.id
        self._pool = pool
        if is_new:
            self._unsubscribe()
            self._subscribe()
        # repeated: a CancellationWatcher that was restarted does not know it
        self._peers.cancellation_watcher.tell(EventsFlow(self._flowing))

    def _subscribe(self) -> None:
        assert self._pool is not None
        self._number += 1
        number = self._number

        def ended(error: Exception) -> _Ended:
            return _Ended(number, error)

        self._following = self.pipe(
            self._follow(number, self._pool.id),
            on_result=lambda _: ended(Unavailable("the server ended the event stream")),
            on_error=ended,
        )

    async def _follow(self, number: int, pool_id: str) -> None:
        async with self._stream.subscribe(pool_id, self._queues) as events:
            self.actor_ref.tell_if_alive(_Connected(number))
            async for event in events:
                self.actor_ref.tell_if_alive(_Heard(number, event))

    def _unsubscribe(self) -> None:
        self._number += 1  # what is under way of the last one counts no more
        if self._following is not None:
            self._following.cancel()
        if self._next_attempt is not None:
            self._next_attempt.cancel()
        self._following = self._next_attempt = self._connected_since = None
        self._flowing = False

    def _connected(self) -> None:
        """Look for what happened while nobody listened."""
        assert self._pool is not None
        self._connected_since = self._clock.monotonic()
        self._proof = self._new_id()
        self._peers.event_emitter.tell(
            listening(self._worker, self._pool, id=self._proof, occurred=self._clock.now())
        )
        self.after(PROOF_SECONDS, _ProofOverdue(self._number))
        self._peers.poller.tell(PollNow())
        self._peers.cancellation_watcher.tell(LookNow())

    def _heard(self, event: ServerEvent) -> None:
        match event.kind:
            case ServerEventKind.LISTENING:
                if event.id == self._proof:
                    self._proved()
            case ServerEventKind.CANCELLING:
                if event.run_id is not None:
                    self._peers.cancellation_watcher.tell(RunCancelling(event.run_id))
            case ServerEventKind.WORK:
                self._wake_poller()

    def _proved(self) -> None:
        self._flowing = True
        self._trouble.resolve()
        log.info("events.connected")
        self._peers.cancellation_watcher.tell(EventsFlow(True))
        self._wake_poller()

    def _lost(self, error: Exception) -> None:
        since = self._connected_since
        lasted = 0.0 if since is None else self._clock.monotonic() - since
        if self._flowing and lasted >= HEALTHY_SECONDS:
            self._failures = 0
        self._failures += 1
        self._unsubscribe()
        self._trouble.log_failure(log, "events.disconnected", error)
        self._peers.cancellation_watcher.tell(EventsFlow(False))
        tries = 64 if isinstance(error, Refused) else self._failures  # refused: seldom
        self._next_attempt = self.after(BACKOFF.delay(tries, self._rng), _Subscribe())

    # -- polls -----------------------------------------------------------------------------------

    def _wake_poller(self) -> None:
        """Ask for one poll for all events within the spread, and not too often."""
        if not self._wakes:
            self._wakes = True
            pause = max(0.0, self._may_wake_at - self._clock.monotonic())
            self.after(pause + self._rng.uniform(0.0, SPREAD_SECONDS), _WakePoller())
