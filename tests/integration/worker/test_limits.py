"""Limits of one run, kept with real processes."""

from __future__ import annotations

import os
import shlex
import sys

from tests.integration.keeper.kit import on_loop
from tests.integration.worker.kit import Workshop

WAITS = "while :; do sleep 0.05; done"


@on_loop
async def test_the_memory_of_the_whole_tree_counts(workshop: Workshop) -> None:
    hog = shlex.join([sys.executable, "-c", "b = bytearray(60 << 20); input()"])
    script = f"for i in 1 2; do (sleep 1000 | {hog}) & done; wait"
    async with workshop.worker():
        run = workshop.run(script, memory_limit_mb=100)
        within = workshop.run("sleep 1 | cat", memory_limit_mb=100, report_states=True)
        message = await workshop.crashed(run)
        assert "held more memory than 100 MB" in message
        await workshop.until(lambda: "COMPLETED" in workshop.server.types_of(within))


@on_loop
async def test_the_memory_of_an_orphan_counts_too(workshop: Workshop) -> None:
    """Forked twice, in a session of its own, it is the run's by its marker alone."""
    fork = "if os.fork(): os._exit(0)\n"
    forks = f"import os, time\n{fork}os.setsid()\n{fork}"
    hog = shlex.join([sys.executable, "-c", forks + "b = b'x' * (80 << 20); time.sleep(1000)"])
    async with workshop.worker():
        run = workshop.run(f"{hog}; {WAITS}", memory_limit_mb=40)
        assert "held more memory than 40 MB" in await workshop.crashed(run)


@on_loop
async def test_a_run_that_lasts_too_long_is_ended_though_it_ignores_the_signal(
    workshop: Workshop,
) -> None:
    async with workshop.worker():
        run = workshop.run(f"trap '' TERM; {WAITS}", timeout_seconds=0.3, grace_seconds=0.2)
        message = await workshop.crashed(run)
        assert "lasted longer than 0.3 s" in message
        assert "SIGKILL" in message


@on_loop
async def test_the_signal_is_the_one_that_was_asked_for(workshop: Workshop) -> None:
    async with workshop.worker():
        script = f"trap 'echo caught; exit 5' USR2; {WAITS}"
        run = workshop.run(script, timeout_seconds=0.5, kill_signal="SIGUSR2")
        message = await workshop.crashed(run)
        assert "exited with code 5" in message
        assert "caught" in message


@on_loop
async def test_a_nice_run_is_nice(workshop: Workshop) -> None:
    async with workshop.worker():
        workshop.run("nice > $1/niceness", nice=7)
        assert await workshop.written("niceness") == [str(os.nice(0) + 7)]
