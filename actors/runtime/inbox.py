"""An actor's mailbox: filled from any thread, emptied by one task."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any

from pykka import ActorDeadError

from .future import wake
from .pykka_internals import Envelope


class Inbox:
    """First in, first out, without bound. Only the actor's own task gets and waits.

    The loop is woken only while the actor sleeps, and from other threads only through
    ``call_soon_threadsafe``.
    """

    __slots__ = ("_close_reason", "_envelopes", "_lock", "_sleeper")

    def __init__(self) -> None:
        self._envelopes: deque[Envelope[Any]] = deque()
        self._lock = threading.Lock()
        self._close_reason: str | None = None
        self._sleeper: asyncio.Future[None] | None = None

    def put(self, envelope: Envelope[Any], /) -> None:
        """Add a message, from any thread.

        Once closed, a question is answered with ActorDeadError and anything else raises it.
        """
        with self._lock:
            reason = self._close_reason
            if reason is None:
                self._envelopes.append(envelope)
            sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None and not wake(sleeper):
            reason = "The event loop of this actor is closed"
            self.close(reason)
            if envelope.reply_to is not None:
                return  # answered by close()
        if reason is not None:
            _refuse(envelope, reason)

    def get(self) -> Envelope[Any]:
        """Take the oldest message. IndexError when there is none: ``await wait()`` first."""
        return self._envelopes.popleft()

    def empty(self) -> bool:
        """Whether there is nothing to get."""
        return not self._envelopes

    def qsize(self) -> int:
        """How many messages are waiting."""
        return len(self._envelopes)

    async def wait(self) -> None:
        """Return once there is a message."""
        with self._lock:
            if self._envelopes:
                return
            sleeper = self._sleeper = asyncio.get_running_loop().create_future()
        await sleeper

    def close(self, reason: str) -> None:
        """Take no more, and answer those who ask with ActorDeadError; ``reason`` says why.

        Under the lock that ``put`` takes, so no message can slip in after the last look.
        """
        with self._lock:
            self._close_reason = reason
            leftovers = list(self._envelopes)
            self._envelopes.clear()
        for envelope in leftovers:
            if envelope.reply_to is not None:
                _refuse(envelope, reason)


def _refuse(envelope: Envelope[Any], reason: str) -> None:
    error = ActorDeadError(reason)
    if envelope.reply_to is None:
        raise error
    envelope.reply_to.set_exception((ActorDeadError, error, None))
