"""A bounded queue of items to deliver. When it is full, the oldest are dropped and counted."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from .model import Json

T = TypeVar("T")


def json_bytes(value: Json) -> int:
    """How many bytes ``value`` takes as JSON in UTF-8, escapes included."""
    return len(json.dumps(value, ensure_ascii=False, default=dict).encode("utf-8", "replace"))


class Outbox(Generic[T]):
    """Items in order, taken out in batches.

    ``max_items`` limits the queue, ``batch_items`` and ``batch_bytes`` limit a batch; ``size_of``
    returns the bytes that an item takes on the wire.
    """

    def __init__(
        self,
        *,
        max_items: int,
        batch_items: int,
        batch_bytes: int,
        size_of: Callable[[T], int],
    ) -> None:
        self._items: deque[T] = deque()
        self._max_items = max_items
        self._batch_items = batch_items
        self._batch_bytes = batch_bytes
        self._size_of = size_of
        self.dropped = 0
        """Items lost since this was last set to 0."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T) -> None:
        """Add ``item``; drop the oldest if the queue is full."""
        if len(self._items) >= self._max_items:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)

    def batch(self, most: int | None = None) -> tuple[T, ...]:
        """Take out the next batch of at most ``most`` items, but at least one if there is any."""
        limit = self._batch_items if most is None else min(most, self._batch_items)
        taken: list[T] = []
        size = 0
        while self._items and len(taken) < limit:
            size += self._size_of(self._items[0])
            if taken and size > self._batch_bytes:
                break
            taken.append(self._items.popleft())
        return tuple(taken)

    def put_back(self, batch: tuple[T, ...]) -> None:
        """Put an undelivered batch back to the front; drop its oldest items for want of room."""
        room = self._max_items - len(self._items)
        kept = batch[len(batch) - room :] if room < len(batch) else batch
        self.dropped += len(batch) - len(kept)
        self._items.extendleft(reversed(kept))
