"""What a launcher promises, of the real keeper and of the scripted one alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.domain.ids import ClaimKey
from actors.domain.ports import Launcher
from actors.domain.process import ProcessExited, ProcessFact, SpawnOrder, TreeEnded
from actors.journal.state_folder import StateFolder
from actors.processes.launcher import KeeperLauncher, KeeperOptions
from actors.runtime import LoopClock
from actors.testing.processes import ScriptedKeeper, ScriptedLauncher

PATIENCE = 60.0

KEY = ClaimKey("0b1e4a6e-1111-4222-8333-444455556666.0b1e4a6e")

Scenario = Callable[[Launcher, SpawnOrder], Awaitable[None]]
Ask = Callable[[Scenario], None]


@asynccontextmanager
async def a_launcher(kind: str, state: StateFolder) -> AsyncIterator[Launcher]:
    if kind == "scripted":
        yield ScriptedLauncher(ScriptedKeeper(LoopClock()))
        return
    options = KeeperOptions(embedded=True, end_grace_seconds=1.0)
    async with KeeperLauncher(state, options) as launcher:
        yield launcher


@pytest.fixture(params=["real", "scripted"])
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    """Runs a scenario with one kind of launcher and an order for a process that sleeps."""

    async def run(scenario: Scenario) -> None:
        with StateFolder(tmp_path / "state") as state:
            async with asyncio.timeout(PATIENCE), a_launcher(request.param, state) as launcher:
                folder = state.runs / KEY
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                argv = ("sleep", "600")
                env = {"PATH": "/usr/bin:/bin"}
                await scenario(launcher, SpawnOrder(key=KEY, folder=folder, argv=argv, env=env))

    return lambda scenario: asyncio.run(run(scenario))


class Facts:
    """A listener that knows when the run is gone."""

    def __init__(self) -> None:
        self.exits: list[int | None] = []
        self.gone = asyncio.Event()

    def __call__(self, fact: ProcessFact) -> None:
        if isinstance(fact, ProcessExited):
            self.exits.append(fact.status.code)
        elif isinstance(fact, TreeEnded):
            self.gone.set()


def test_of_a_run_that_the_keeper_does_not_have_nothing_is_ended_or_forgotten(ask: Ask) -> None:
    async def scenario(launcher: Launcher, order: SpawnOrder) -> None:
        assert await launcher.watch(order.key, Facts()) is None
        await launcher.end_tree(order.key, signal=15, grace_seconds=1.0)
        await launcher.forget(order.key)
        assert await launcher.table() == []

    ask(scenario)


def test_an_order_to_end_that_came_too_early_does_not_end_what_is_started_later(ask: Ask) -> None:
    async def scenario(launcher: Launcher, order: SpawnOrder) -> None:
        facts = Facts()
        await launcher.end_tree(order.key, signal=15, grace_seconds=0.0)
        await launcher.spawn(order, facts)
        kept = await launcher.watch(order.key, facts)
        assert kept is not None
        assert kept.exit is None
        await launcher.end_tree(order.key, signal=15, grace_seconds=10.0)
        await facts.gone.wait()
        assert facts.exits == [-15]

    ask(scenario)


def test_a_process_is_started_once_per_key(ask: Ask) -> None:
    async def scenario(launcher: Launcher, order: SpawnOrder) -> None:
        facts = Facts()
        first = await launcher.spawn(order, Facts())
        assert await launcher.spawn(order, facts) == first
        assert [kept.key for kept in await launcher.table()] == [order.key]
        await launcher.end_tree(order.key, signal=9, grace_seconds=0.0)
        await facts.gone.wait()
        assert facts.exits == [-9]
        await launcher.forget(order.key)
        assert await launcher.table() == []

    ask(scenario)
