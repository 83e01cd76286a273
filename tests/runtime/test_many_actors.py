"""Ten thousand actors cost one thread."""

from __future__ import annotations

import asyncio
import threading

from pykka import ActorRegistry

from actors.runtime import AsyncioActor, Query


class Number(Query[int]):
    pass


class Numbered(AsyncioActor):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    async def on_receive(self, message: Number) -> int:
        await asyncio.sleep(0)
        return self.number


def test_ten_thousand_actors_start_answer_and_stop_in_one_thread() -> None:
    async def main() -> None:
        threads = threading.active_count()
        refs = [Numbered.start(number) for number in range(10_000)]
        answers = await asyncio.gather(*(ref.request(Number(), timeout=None) for ref in refs))
        assert answers == list(range(10_000))
        assert threading.active_count() == threads
        stopped = await asyncio.gather(*(ref.stop(block=False) for ref in refs))
        assert all(stopped)

    asyncio.run(main())
    assert ActorRegistry.get_all() == []
