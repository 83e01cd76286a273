"""The kernel ends a run for lack of memory, and everybody hears that it was the kernel."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator

import pytest

from actors.domain.ids import FlowRunId
from tests.integration.keeper.kit import ended, keepers_of, on_loop
from tests.integration.worker.kit import Workshop
from tests.integration.worker.memory_group import memory_group, start_keeper_in

LIMIT = 96 << 20
VICTIM = "echo 1000 > /proc/self/oom_score_adj; "
"""Whoever writes this is the one that the kernel ends (proc_pid_oom_score_adj(5))."""
HOG = shlex.join([sys.executable, "-ISuc", "b = bytearray(400 << 20); print('unharmed')"])
SAID = "memory had run out"


@pytest.fixture
def short_of_memory(workshop: Workshop) -> Iterator[Workshop]:
    """A workshop whose keeper and runs share 96 MiB."""
    with memory_group(LIMIT) as group:
        start_keeper_in(group, workshop.state)
        yield workshop
        for pid in keepers_of(workshop.state):
            os.kill(pid, signal.SIGTERM)
            assert ended(pid)


async def reason_of(workshop: Workshop, run: FlowRunId, capsys: pytest.CaptureFixture[str]) -> str:
    """The reason in the worker's log, once the run is settled there."""
    heard = ""

    def settled() -> list[str]:
        nonlocal heard
        heard += capsys.readouterr().out
        lines = (line for line in heard.splitlines() if "run.settled" in line and run in line)
        return [line.partition("reason=")[2] for line in lines]

    [reason] = await workshop.until(settled)
    return str(reason)


@on_loop
async def test_a_run_that_the_kernel_ends_is_said_to_be_out_of_memory(
    short_of_memory: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    async with short_of_memory.worker(embedded=False):
        run = short_of_memory.run(f"echo alive; {VICTIM} exec {HOG}")
        message = await short_of_memory.crashed(run)
        assert SAID in message
        assert "alive" in message
        assert "unharmed" not in message
        assert "out of memory (kernel)" in await reason_of(short_of_memory, run, capsys)


@on_loop
async def test_a_run_whose_child_the_kernel_ends_says_so_too(short_of_memory: Workshop) -> None:
    """A shell passes on as 137 that its child was killed."""
    async with short_of_memory.worker(embedded=False):
        run = short_of_memory.run(f"({VICTIM} exec {HOG}); exit $?")
        assert SAID in await short_of_memory.crashed(run)


@on_loop
async def test_a_kill_by_somebody_is_none_by_the_kernel(
    short_of_memory: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even where the kernel has ended another run just before."""
    async with short_of_memory.worker(embedded=False):
        other = short_of_memory.run(f"{VICTIM} exec {HOG}")
        assert SAID in await short_of_memory.crashed(other)
        run = short_of_memory.run("kill -9 $$")
        message = await short_of_memory.crashed(run)
        assert SAID not in message
        assert "SIGKILL" in message
        assert await reason_of(short_of_memory, run, capsys) == "failed"
