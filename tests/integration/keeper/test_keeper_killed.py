"""The keeper may die too: runs live on and print on, their exit codes are lost and not guessed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actors.journal.state_folder import StateFolder
from actors.keeper import procfs
from tests.integration.keeper.kit import (
    PATIENCE,
    Facts,
    Gate,
    ended,
    kill_keeper,
    lasting,
    marked,
    on_loop,
    python,
    shell,
)


@on_loop
async def test_a_run_goes_on_printing_and_its_exit_is_lost(state: StateFolder, gate: Gate) -> None:
    script = f"echo before; read x < {gate.path}; echo after; read x < {gate.path}; exit 7"
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shell(state, script)
        identity = await launcher.spawn(wanted, facts)
        await facts.line("before")
        former = kill_keeper(launcher)
        gate.open()
        await facts.line("after")
        assert launcher.keeper_pid != former
        [kept] = await launcher.table()
        assert (kept.identity, kept.exit) == (identity, None)
        gate.open()
        status = await facts.exited()
        assert (status.code, status.lost) == (None, True)
        await facts.gone()
        assert facts.lines == ["before", "after"]


@on_loop
async def test_a_run_that_ends_while_there_is_no_keeper_is_lost_with_its_last_words_told(
    state: StateFolder, gate: Gate
) -> None:
    script = f"echo before; read x < {gate.path}; echo after"
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shell(state, script)
        identity = await launcher.spawn(wanted, facts)
        await facts.line("before")
        kill_keeper(launcher)
        gate.open()
        assert ended(identity.pid)
        assert (await facts.exited()).lost
        assert facts.lines == ["before", "after"]


@on_loop
async def test_an_adopted_run_is_ended_with_all_that_it_started(state: StateFolder) -> None:
    script = "import os, time\nif os.fork() == 0: os.setsid()\nprint('ready')\ntime.sleep(1000)"
    async with lasting(state) as launcher:
        facts, wanted = Facts(), python(state, script)
        await launcher.spawn(wanted, facts)
        await facts.until(lambda: len(facts.lines) == 2)
        kill_keeper(launcher)
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE)
        assert (await facts.exited()).lost
        await facts.gone()
        assert marked([wanted.key]) == []


@on_loop
async def test_an_end_under_way_is_carried_out_by_the_next_keeper(state: StateFolder) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready')\n"
    async with lasting(state) as launcher:
        facts, wanted = Facts(), python(state, stubborn + "time.sleep(1000)")
        await launcher.spawn(wanted, facts)
        await facts.line("ready")
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0.5)
        kill_keeper(launcher)
        assert (await facts.exited()).lost
        await facts.gone()
        assert marked([wanted.key]) == []


@on_loop
async def test_an_order_that_was_lost_with_the_keeper_starts_one_process(
    state: StateFolder,
) -> None:
    async with lasting(state) as launcher:
        everything = []
        for _ in range(5):
            facts, wanted = Facts(), shell(state, "echo $$; exec sleep 1000")
            spawning = asyncio.create_task(launcher.spawn(wanted, facts))
            await asyncio.sleep(0)  # the order is on its way
            kill_keeper(launcher)
            identity = await spawning
            everything.append((facts, wanted, identity))
        for facts, wanted, identity in everything:
            assert len(marked([wanted.key])) == 1
            assert procfs.marker(identity.pid) == wanted.key
            await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
            await facts.gone()


@on_loop
async def test_new_runs_go_to_the_next_keeper_with_their_exit_codes(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        kill_keeper(launcher)
        facts = Facts()
        await launcher.spawn(shell(state, "exit 6"), facts)
        assert (await facts.exited()).code == 6


@on_loop
async def test_after_a_restart_of_the_machine_nothing_is_signalled(state: StateFolder) -> None:
    """The recorded pid may be anybody's now: here it is a process of this very test."""
    bystander = await asyncio.create_subprocess_exec("sleep", "1000")
    wanted = shell(state, "true")
    found = procfs.stat(bystander.pid)
    assert found is not None
    note = {
        "format": 1,
        "key": wanted.key,
        "pid": bystander.pid,
        "start_ticks": found.start,
        "boot_id": "another boot",
        "pid_namespace": procfs.pid_namespace(),
        "max_output_bytes": 1000,
    }
    (wanted.folder / "process.json").write_text(json.dumps(note))
    async with lasting(state) as launcher:
        facts = Facts()
        kept = await launcher.watch(wanted.key, facts)
        assert kept is not None
        assert (kept.rebooted, kept.tree_ended) == (True, True)
        assert (await facts.exited()).lost
        await facts.gone()
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        assert await launcher.table() != []
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


@on_loop
async def test_a_pid_that_was_given_to_another_process_is_lost_and_left_alone(
    state: StateFolder,
) -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "1000")
    wanted = shell(state, "true")
    note = {
        "format": 1,
        "key": wanted.key,
        "pid": bystander.pid,
        "start_ticks": 1,
        "boot_id": procfs.boot_id(),
        "pid_namespace": procfs.pid_namespace(),
        "max_output_bytes": 1000,
    }
    (wanted.folder / "process.json").write_text(json.dumps(note))
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.watch(wanted.key, facts)
        assert (await facts.exited()).lost
        assert await facts.gone() == ()
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()


@on_loop
async def test_a_broken_note_of_one_run_does_not_disturb_the_others(state: StateFolder) -> None:
    broken, wanted = shell(state, "true"), shell(state, "exit 4")
    (broken.folder / "process.json").write_text('{"key": 3')
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        assert (await facts.exited()).code == 4
        assert [run.key for run in await launcher.table()] == [wanted.key]


def emptied(record: Path) -> None:
    record.write_bytes(b"")


def from_a_newer_version(record: Path) -> None:
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 2}))


@pytest.mark.parametrize("spoil", [emptied, from_a_newer_version, Path.unlink])
@on_loop
async def test_a_run_whose_record_is_broken_is_known_while_it_lives(
    state: StateFolder, gate: Gate, spoil: Callable[[Path], None]
) -> None:
    script = f"(sleep 1000) & echo before; read x < {gate.path}; echo after; exec sleep 1000"
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shell(state, script)
        identity = await launcher.spawn(wanted, facts)
        await facts.line("before")
        spoil(wanted.folder / "process.json")
        kill_keeper(launcher)
        [kept] = await launcher.table()
        assert (kept.key, kept.identity, kept.exit) == (wanted.key, identity, None)
    async with lasting(state) as launcher:  # this one has kept nothing for the keeper
        facts = Facts()
        kill_keeper(launcher)
        await launcher.watch(wanted.key, facts)
        gate.open()
        await facts.line("after")
        assert await launcher.spawn(wanted, facts) == identity
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE)
        assert (await facts.exited()).lost
        await facts.gone()
        assert marked([wanted.key]) == []


@on_loop
async def test_an_exit_from_a_newer_version_is_not_believed(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shell(state, "exit 3")
        await launcher.spawn(wanted, facts)
        await facts.gone()
        from_a_newer_version(wanted.folder / "exit.json")
        kill_keeper(launcher)
        [kept] = await launcher.table()
        assert kept.exit is not None
        assert kept.exit.lost


@on_loop
async def test_the_next_keeper_keeps_the_output_bounded(state: StateFolder, gate: Gate) -> None:
    loud = "import sys\nfor i in range(20000): print('x' * 99)\n"
    script = f"{loud}print('half'); sys.stdout.flush(); open('{gate.path}').readline()\n{loud}"
    async with lasting(state) as launcher:
        facts = Facts()
        wanted = replace(python(state, script), max_output_bytes=100_000)
        await launcher.spawn(wanted, facts)
        await facts.line("half")
        kill_keeper(launcher)
        gate.open()
        await facts.gone()
        [kept] = await launcher.table()
        assert kept.output_bytes == 2 * 20000 * 100 + len("half\n")
        assert sum(path.stat().st_size for path in wanted.folder.glob("output-*")) <= 100_000
