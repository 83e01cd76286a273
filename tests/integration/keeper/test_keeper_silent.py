"""A keeper that hangs or refuses is complained of once, and nothing is started twice for it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import KeeperError
from actors.domain.ids import ClaimKey
from actors.journal.state_folder import StateFolder
from actors.keeper.constants import PROCESS_FILE
from actors.processes.launcher import KeeperLauncher, KeeperOptions
from tests.integration.keeper.kit import Facts, ended, lasting, marked, on_loop, order, shell
from tests.integration.keeper.scripted_keeper import REFUSAL, scripted_keeper

A_WHILE = 2.0
"""Seconds in which a keeper that is there answers on the busiest machine."""
SILENT = "has not answered within"


@asynccontextmanager
async def impatient(
    state: StateFolder, answer_seconds: float = 0.1
) -> AsyncIterator[KeeperLauncher]:
    """A launcher that waits for answers a moment only, once the keeper is there."""
    options = KeeperOptions(linger_seconds=0.0, answer_seconds=answer_seconds)
    launcher = KeeperLauncher(state, options)
    try:
        assert state.try_lock()
        await patiently(launcher)
        yield launcher
    finally:
        await launcher.aclose()


@contextmanager
def stopped(launcher: KeeperLauncher) -> Iterator[None]:
    """The keeper stands still meanwhile."""
    assert launcher.keeper_pid is not None
    os.kill(launcher.keeper_pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(launcher.keeper_pid, signal.SIGCONT)


async def patiently(launcher: KeeperLauncher) -> None:
    """Return once the keeper answers again: how soon is up to a busy machine."""
    while True:
        try:
            await launcher.table()
            return
        except KeeperError:
            continue


@on_loop
async def test_a_run_that_a_hanging_keeper_was_asked_for_is_started_once(
    state: StateFolder,
) -> None:
    facts, wanted = Facts(), shell(state, "echo once; exec sleep 1000")
    async with impatient(state) as launcher:
        with capture_logs() as logs:
            with stopped(launcher):
                for _ in range(3):
                    with pytest.raises(KeeperError, match=SILENT):
                        await launcher.spawn(wanted, facts)
                with pytest.raises(KeeperError, match=SILENT):
                    await launcher.table()
                with pytest.raises(KeeperError, match=SILENT):
                    await launcher.end_tree(ClaimKey("other"), signal=9, grace_seconds=0)
            await patiently(launcher)
    async with lasting(state) as launcher:
        await launcher.spawn(wanted, facts)
        await facts.line("once")
        assert len(marked([wanted.key])) == 1
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        await facts.gone()
        assert facts.lines == ["once"]
    said = [line["event"] for line in logs]
    assert (said.count("keeper.hangs"), said.count("keeper.answers_again")) == (1, 1)


@on_loop
async def test_a_keeper_that_reads_nothing_is_not_told_more_and_more(state: StateFolder) -> None:
    """Frames would pile up in the worker's memory, as long as the keeper hangs."""
    long = ["x" * 100_000] * 10
    orders = [order(state, "true", *long) for _ in range(5)]
    async with impatient(state) as launcher:
        keeper = launcher.keeper_pid
        with stopped(launcher):
            for wanted in orders:
                with pytest.raises(KeeperError, match=SILENT):
                    await launcher.spawn(wanted, Facts())
        await patiently(launcher)
    assert keeper is not None
    assert ended(keeper)  # which it does not before it has carried out all that it was told
    assert [one for one in orders if (one.folder / PROCESS_FILE).exists()] == orders[:1]


@on_loop
async def test_a_start_that_takes_long_is_no_keeper_that_hangs(state: StateFolder) -> None:
    with capture_logs() as logs:
        async with scripted_keeper(state), impatient(state, A_WHILE) as launcher:
            wanted = shell(state, "true")
            spawning = asyncio.create_task(launcher.spawn(wanted, Facts()))
            while not spawning.done():
                await launcher.table()
            with pytest.raises(KeeperError, match=SILENT):
                await spawning
    assert "keeper.hangs" not in [line["event"] for line in logs]


@on_loop
async def test_what_the_platform_lacks_and_that_no_keeper_can_be_had_is_said_once(
    state: StateFolder,
) -> None:
    with capture_logs() as logs:
        async with scripted_keeper(state) as keeper, impatient(state) as launcher:
            greeting, keeper.greeting = keeper.greeting, REFUSAL
            keeper.hang_up()
            await keeper.until_greeted(4)
            keeper.greeting = greeting
            await patiently(launcher)
    [limited] = [line for line in logs if line["event"] == "keeper.limited"]
    assert limited["missing"] == ("no luck",)
    assert [line["event"] for line in logs if line["event"] != "keeper.limited"] == [
        "keeper.lost",
        "keeper.missing",
        "keeper.found",
    ]
