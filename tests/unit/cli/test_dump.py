"""Dumps come one after the other; none that was asked for is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.testing import capture_logs

from actors.cli.dump import Dumper
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


Story = Callable[[Dumper, Writer], Coroutine[Any, Any, None]]


def play(story: Story) -> None:
    async def main() -> None:
        writer = Writer()
        dumper = Dumper(writer)
        await story(dumper, writer)
        await dumper.finish()

    run_virtual(main())


def test_requests_while_one_is_written_get_another_one_together() -> None:
    async def story(dumper: Dumper, writer: Writer) -> None:
        dumper.start()
        dumper.request()
        await asyncio.sleep(1)
        dumper.request()
        dumper.request()
        await asyncio.sleep(1)
        assert writer.begun == 1
        writer.may_end.set()
        await dumper.finish()
        assert (writer.begun, writer.written) == (2, 2)

    play(story)


def test_one_that_is_asked_for_before_there_is_anything_comes_later() -> None:
    async def story(dumper: Dumper, writer: Writer) -> None:
        writer.may_end.set()
        dumper.request()
        await asyncio.sleep(1)
        assert writer.begun == 0
        dumper.start()
        await dumper.finish()
        assert writer.written == 1

    play(story)


def test_one_that_fails_is_said_and_keeps_no_other_from_being_written() -> None:
    async def story(dumper: Dumper, writer: Writer) -> None:
        writer.may_end.set()
        writer.failure = OSError("broken")
        dumper.start()
        with capture_logs() as logs:
            dumper.request()
            await dumper.finish()
        assert [entry["event"] for entry in logs] == ["dump.failed"]
        writer.failure = None
        dumper.request()
        await dumper.finish()
        assert writer.written == 1

    play(story)
