"""What pykka's tests get as their ``runtime`` here: AsyncioActor, on a loop in another thread.

Those tests start actors on the main thread, where no event loop runs. They are a package
``tests`` of their own, so this imports nothing of ours but ``actors``.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from actors.runtime import AsyncioActor, AsyncioFuture, AsyncioRef

START_SECONDS = 60.0


@pytest.fixture(scope="session")
def runtime() -> Iterator[SimpleNamespace]:
    """The fields of pykka's ``tests.types.Runtime``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    class HostedActor(AsyncioActor):
        @classmethod
        def start(cls, *args: Any, **kwargs: Any) -> AsyncioRef:
            begin = super().start

            async def on_the_loop() -> AsyncioRef:
                return begin(*args, **kwargs)

            return asyncio.run_coroutine_threadsafe(on_the_loop(), loop).result(START_SECONDS)

    yield SimpleNamespace(
        name="asyncio",
        actor_class=HostedActor,
        event_class=threading.Event,
        future_class=AsyncioFuture,
        sleep_func=time.sleep,
    )
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
