from __future__ import annotations

import asyncio
import errno

from structlog.testing import capture_logs

from actors.cli.loop_errors import KINDS, LoopErrors
from tests.support.virtual import virtual


def no_descriptors() -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def no_memory() -> None:
    raise MemoryError


@virtual
async def test_an_error_that_repeats_is_logged_ever_more_rarely_with_its_count() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())
    with capture_logs() as logs:
        for _ in range(2_000):
            loop.call_soon(no_descriptors)
        loop.call_soon(no_memory)
        await asyncio.sleep(1)
    assert {line["event"] for line in logs} == {"loop.error"}
    assert [line["times"] for line in logs] == [1, 10, 100, 1000, 1]
    assert isinstance(logs[0]["exc_info"], OSError)


@virtual
async def test_errors_of_ever_new_kinds_do_not_fill_memory_or_log() -> None:
    with capture_logs() as logs:
        asyncio.get_running_loop().set_exception_handler(LoopErrors())
        for number in range(10_000):
            asyncio.get_running_loop().call_exception_handler({"message": f"kind {number}"})
    assert len(logs) < KINDS + 10
