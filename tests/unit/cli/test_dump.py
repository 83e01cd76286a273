"""Dumps come one after the other; none that was asked for is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.testing import capture_logs

from actors.cli.dump import dump_on_request
from actors.testing.virtual_time import run_virtual


class Writer:
    """Writes dumps as long as the test wants each to take."""

    def __init__(self) -> None:
        self.begun = 0
        self.written = 0
        self.may_end = asyncio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> None:
        self.begun += 1
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        self.written += 1


Story = Callable[[asyncio.Event, Writer], Coroutine[Any, Any, None]]


def play(story: Story) -> None:
    async def main() -> None:
        requested, writer = asyncio.Event(), Writer()
        dumps = asyncio.create_task(dump_on_request(requested, writer))
        await story(requested, writer)
        dumps.cancel()

    run_virtual(main())


def test_requests_while_one_is_written_get_another_one_together() -> None:
    async def story(requested: asyncio.Event, writer: Writer) -> None:
        requested.set()
        await asyncio.sleep(1)
        requested.set()
        requested.set()
        await asyncio.sleep(1)
        assert writer.begun == 1
        writer.may_end.set()
        await asyncio.sleep(1)
        assert (writer.begun, writer.written) == (2, 2)

    play(story)


def test_one_that_fails_is_said_and_keeps_no_other_from_being_written() -> None:
    async def story(requested: asyncio.Event, writer: Writer) -> None:
        writer.may_end.set()
        writer.failure = OSError("broken")
        with capture_logs() as logs:
            requested.set()
            await asyncio.sleep(1)
        assert [entry["event"] for entry in logs] == ["dump.failed"]
        writer.failure = None
        requested.set()
        await asyncio.sleep(1)
        assert writer.written == 1

    play(story)
