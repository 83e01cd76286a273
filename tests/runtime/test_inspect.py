"""What an actor shows of its state: looked at directly, in a dump."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from actors.runtime import AsyncioActor, Directory, dump
from tests.runtime.scribe import forever, turns
from tests.support.virtual import virtual


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterView:
    count: int


class Counter(AsyncioActor):
    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def on_receive(self, message: Any) -> None:
        self._count += 1
        await asyncio.sleep(message)

    def inspect(self) -> CounterView:
        if self._count > 2:
            raise ValueError("the counter is broken")
        return CounterView(count=self._count)


@virtual
async def test_a_look_needs_not_wait_for_a_handler() -> None:
    ref = Counter.start()
    ref.tell(3600)
    ref.tell(0)
    await asyncio.sleep(1)
    assert ref.inspect() == CounterView(count=1)
    ref.kill()
    await ref.joined()
    assert ref.inspect() is None


@virtual
async def test_a_dump_shows_the_view() -> None:
    directory = Directory()
    ref = Counter.start()
    directory.register("counter", ref)
    ref.tell(0)
    await asyncio.sleep(1)
    (report,) = dump(directory)
    assert report.view == CounterView(count=1)
    await ref.stop(block=False)


@virtual
async def test_a_dump_counts_waits_and_timers() -> None:
    class Busy(AsyncioActor):
        def on_start(self) -> None:
            self.pipe(forever(), lambda _: None)
            self.after(3600, None)
            self.after(7200, None)

    directory = Directory()
    ref = Busy.start()
    directory.register("busy", ref)
    await turns()
    (report,) = dump(directory)
    assert (report.waits, report.timers, report.view) == (1, 2, None)
    await ref.stop(block=False)


@virtual
async def test_a_view_that_fails_keeps_no_dump_from_being_written() -> None:
    directory = Directory()
    ref = Counter.start()
    directory.register("counter", ref)
    for _ in range(3):
        ref.tell(0)
    await asyncio.sleep(1)
    (report,) = dump(directory)
    assert report.view == "inspect() failed: ValueError('the counter is broken')"
    assert ref.is_alive()
    await ref.stop(block=False)
