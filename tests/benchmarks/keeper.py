"""``python -m tests.benchmarks.keeper``: how fast the keeper is, what it weighs."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import psutil

from actors.domain.ids import ClaimKey
from actors.domain.ports import FactListener
from actors.domain.process import ProcessExited, ProcessFact, SpawnOrder
from actors.journal.state_folder import StateFolder
from actors.processes.launcher import KeeperLauncher, KeeperOptions

RUNS = 300
MEGABYTES = 200


async def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        state = StateFolder(Path(name))
        began = time.perf_counter()
        async with KeeperLauncher(state, KeeperOptions(embedded=True)) as launcher:
            keeper = psutil.Process(launcher.keeper_pid)
            print(f"start:   {time.perf_counter() - began:.3f} s")
            print(f"at rest: {keeper.memory_info().rss / 2**20:.1f} MB resident")
            await _spawn(state, launcher, keeper)
            await _read(state, launcher, keeper)
            print(f"after:   {keeper.memory_info().rss / 2**20:.1f} MB resident")


async def _spawn(state: StateFolder, launcher: KeeperLauncher, keeper: psutil.Process) -> None:
    over = asyncio.Semaphore(0)
    cpu, began = _cpu(keeper), time.perf_counter()
    orders = [_order(state, f"spawn.{number}", "true") for number in range(RUNS)]
    listener = _when_exited(over)
    await asyncio.gather(*(launcher.spawn(order, listener) for order in orders))
    spawned = time.perf_counter() - began
    for _ in orders:
        await over.acquire()
    ended = time.perf_counter() - began
    print(
        f"spawn:   {RUNS} in {spawned:.3f} s, over after {ended:.3f} s, "
        f"{_cpu(keeper) - cpu:.2f} s of the keeper's CPU"
    )


async def _read(state: StateFolder, launcher: KeeperLauncher, keeper: psutil.Process) -> None:
    over = asyncio.Semaphore(0)
    cpu, began = _cpu(keeper), time.perf_counter()
    script = f"head -c {MEGABYTES * 2**20} /dev/zero"
    await launcher.spawn(_order(state, "read.1", "sh", "-c", script), _when_exited(over))
    await over.acquire()
    print(
        f"output:  {MEGABYTES} MB in {time.perf_counter() - began:.3f} s, "
        f"{_cpu(keeper) - cpu:.2f} s of the keeper's CPU"
    )


def _order(state: StateFolder, key: str, *argv: str) -> SpawnOrder:
    folder = state.runs / key
    folder.mkdir(mode=0o700)
    env = {"PATH": os.environ["PATH"]}
    return SpawnOrder(key=ClaimKey(key), folder=folder, argv=argv, env=env, working_dir=Path("/"))


def _when_exited(over: asyncio.Semaphore) -> FactListener:
    def listen(fact: ProcessFact) -> None:
        if isinstance(fact, ProcessExited):
            over.release()

    return listen


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    asyncio.run(main())
