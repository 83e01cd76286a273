from __future__ import annotations

import asyncio
import errno

from structlog.testing import capture_logs

from actors.cli.loop_errors import KINDS, REPEAT_SECONDS, LoopErrors
from tests.support.virtual import virtual


def no_descriptors() -> None:
    raise OSError(errno.EMFILE, "Too many open files")


def no_memory() -> None:
    raise MemoryError


def handle_errors_of_this_loop() -> LoopErrors:
    errors = LoopErrors()
    asyncio.get_running_loop().set_exception_handler(errors)
    return errors


@virtual
async def test_an_error_that_repeats_is_logged_once_an_hour_with_its_count() -> None:
    with capture_logs() as logs:
        errors = handle_errors_of_this_loop()
        loop = asyncio.get_running_loop()
        for _ in range(100_000):
            loop.call_soon(no_descriptors)
        loop.call_soon(no_memory)
        await asyncio.sleep(REPEAT_SECONDS)
        assert [(line["event"], line["times"]) for line in logs] == [("loop.error", 1)] * 2
        loop.call_soon(no_descriptors)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert logs[2]["times"] == 100_000
        assert isinstance(logs[2]["exc_info"], OSError)
        errors.log_counts()
    assert len(logs) == 3


@virtual
async def test_what_was_only_counted_is_told_at_the_end() -> None:
    with capture_logs() as logs:
        errors = handle_errors_of_this_loop()
        for _ in range(3):
            asyncio.get_running_loop().call_soon(no_memory)
        await asyncio.sleep(0)
        errors.log_counts()
        errors.log_counts()
    first, counted = logs
    assert first["event"] == "loop.error"
    assert counted["event"] == "loop.errors_repeated"
    assert counted["times"] == 2
    assert counted["kind"].startswith("MemoryError in ")


@virtual
async def test_errors_of_ever_new_kinds_do_not_fill_memory_or_log() -> None:
    with capture_logs() as logs:
        handle_errors_of_this_loop()
        for number in range(10_000):
            asyncio.get_running_loop().call_exception_handler({"message": f"kind {number}"})
    assert len(logs) == KINDS + 1
