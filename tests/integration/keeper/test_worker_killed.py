"""The worker may die at any moment: its runs do not notice, and its successor misses nothing."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.domain.errors import KeeperError
from actors.domain.ids import ClaimKey
from actors.journal.state_folder import StateFolder
from actors.processes.launcher import KeeperLauncher
from tests.integration.keeper.kit import (
    PATIENCE,
    Facts,
    Gate,
    ended,
    lasting,
    marked,
    on_loop,
    python,
    shell,
)

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def killed_worker(
    state: StateFolder, script: str
) -> AsyncIterator[tuple[ClaimKey, int, int]]:
    """A worker that spawned ``script`` and was killed: key, pid of the run, pid of the keeper."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.keeper.worker_program"),
        *(str(state.path), script),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert worker.stdout is not None
    async with asyncio.timeout(PATIENCE):
        said = await worker.stdout.readline()
    worker.kill()
    await worker.wait()
    key, pid, keeper = json.loads(said)
    yield ClaimKey(key), pid, keeper


@on_loop
async def test_a_successor_sees_the_run_with_its_output_and_its_exit_code(
    state: StateFolder, gate: Gate
) -> None:
    script = f"echo ready; read x < {gate.path}; echo after; exit 7"
    async with killed_worker(state, script) as (key, pid, keeper), lasting(state) as launcher:
        assert launcher.keeper_pid == keeper
        facts = Facts()
        kept = await launcher.watch(key, facts)
        assert kept is not None
        assert (kept.identity.pid, kept.exit, kept.rebooted) == (pid, None, False)
        gate.open()
        assert (await facts.exited()).code == 7
        assert facts.lines == ["ready", "after"]


@on_loop
async def test_a_run_that_ended_meanwhile_is_told_as_it_ended(
    state: StateFolder, gate: Gate
) -> None:
    script = f"echo ready; read x < {gate.path}; echo after; exit 7"
    async with killed_worker(state, script) as (key, pid, keeper):
        gate.open()
        assert ended(keeper)  # nothing left to keep: it went, and a new one reads its notes
    async with lasting(state) as launcher:
        facts = Facts()
        kept = await launcher.watch(key, facts)
        assert kept is not None
        assert kept.identity.pid == pid
        assert (await facts.exited()).code == 7
        await facts.gone()
        assert facts.lines == ["ready", "after"]
        await launcher.forget(key)
    async with lasting(state) as launcher:
        assert await launcher.table() == []


@on_loop
async def test_an_end_that_was_ordered_is_carried_out_without_the_worker(
    state: StateFolder,
) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready')\n"
    async with lasting(state) as launcher:
        facts, wanted = Facts(), python(state, stubborn + "time.sleep(1000)")
        identity = await launcher.spawn(wanted, facts)
        await facts.line("ready")
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0.2)
    assert ended(identity.pid)
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.watch(wanted.key, facts)
        assert (await facts.exited()).code == -signal.SIGKILL
        await facts.gone()


@on_loop
async def test_ten_workers_in_a_row_leave_a_run_alone(state: StateFolder, gate: Gate) -> None:
    wanted = shell(state, f"echo ready; read x < {gate.path}; exit 9")
    async with lasting(state) as launcher:
        identity = await launcher.spawn(wanted, Facts())
        keeper = launcher.keeper_pid
    for _ in range(10):
        async with lasting(state) as launcher:
            [kept] = await launcher.table()
            assert (kept.identity, kept.exit, launcher.keeper_pid) == (identity, None, keeper)
    gate.open()
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.watch(wanted.key, facts)
        assert (await facts.exited()).code == 9


@on_loop
async def test_the_newest_worker_has_the_keeper(state: StateFolder) -> None:
    async with lasting(state) as older, lasting(state) as newer:
        assert await newer.table() == []
        with pytest.raises(KeeperError, match="taken over"):
            await older.table()


@on_loop
async def test_two_workers_that_start_at_once_get_one_keeper(state: StateFolder) -> None:
    launchers = [lasting(state) for _ in range(3)]
    starts = (launcher.start() for launcher in launchers)
    failures = [error for error in await asyncio.gather(*starts, return_exceptions=True) if error]
    # one that was replaced by another before it had the table says so
    assert all("taken over" in str(error) for error in failures)
    assert len(failures) < len(launchers)
    pids = {launcher.keeper_pid for launcher in launchers} - {None}
    assert len(pids) == 1
    for launcher in launchers:
        await launcher.aclose()


@on_loop
async def test_a_keeper_of_another_version_is_refused_in_words(state: StateFolder) -> None:
    from actors.processes.connection import KeeperConnection, connect

    async with lasting(state) as launcher:
        raw = await connect(state.path)
        connection = KeeperConnection(raw, lambda *_: None, lambda _: None)
        answer = await connection.request({"op": "hello", "protocol": 99})
        assert answer["error"] == "version"
        connection.close()
        assert await launcher.table() == []


@on_loop
async def test_nonsense_on_the_socket_ends_that_conversation_only(state: StateFolder) -> None:
    from actors.processes.connection import connect

    loop = asyncio.get_running_loop()
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shell(state, "echo ready; exec sleep 1000")
        await launcher.spawn(wanted, facts)
        for nonsense in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\2[]", b'\0\0\0\7{"a":1}'):
            raw = await connect(state.path)
            await loop.sock_sendall(raw, nonsense)
            assert await loop.sock_recv(raw, 100) == b""
            raw.close()
        await facts.line("ready")
        assert marked([wanted.key]) != []
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        await facts.gone()


@on_loop
async def test_an_embedded_worker_and_a_lasting_keeper_do_not_mix(state: StateFolder) -> None:
    from tests.integration.keeper.kit import embedded

    async with lasting(state):
        other: KeeperLauncher = embedded(state)
        with pytest.raises(KeeperError, match="not embedded"):
            await other.start()
        await other.aclose()
