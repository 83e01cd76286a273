"""A process that sheds ancestry, session and environment is still in its run's control group."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from actors.domain.errors import CouldNotStart
from actors.domain.process import SpawnOrder
from actors.journal.state_folder import StateFolder
from actors.keeper import procfs
from tests.integration.keeper.kit import (
    Facts,
    embedded,
    ended,
    groups_of,
    kill_keeper,
    lasting,
    needs_groups,
    on_loop,
    order,
    python,
)

SHED = """
import os
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.execve(PYTHON, [PYTHON, '-ISuc', WHAT], {{}})
    os._exit(0)
os.close(writing)
os.read(reading, 1)  # until it has become another program
os.wait()
{then}
"""
STAYS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('shed', os.getpid())
time.sleep(1000)
"""
MOVES_ON = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('shed', os.getpid())
end = time.monotonic() + 60  # should a test be cut short, nobody else would end it
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    os.setsid()
    time.sleep(0.002)
"""
WAIT = "import time; time.sleep(1000)"


def shedding(state: StateFolder, what: str = STAYS, then: str = WAIT) -> SpawnOrder:
    """An order for a run with a process that nothing but its group connects with it."""
    names = f"PYTHON, WHAT = {sys.executable!r}, {what!r}\n"
    return python(state, names + SHED.format(then=then))


def group_of(wanted: SpawnOrder) -> Path:
    """The control group that the run's record names."""
    return Path(json.loads((wanted.folder / "process.json").read_text())["cgroup"])


async def shed_pid(facts: Facts) -> int:
    """The process that has shed everything, once it has."""
    pid = int((await facts.line("shed")).split()[1])
    assert procfs.marker(pid) is None
    return pid


@needs_groups
@pytest.mark.parametrize("what", [STAYS, MOVES_ON], ids=["stays", "moves on by forking"])
@on_loop
async def test_it_is_ended_with_the_tree(state: StateFolder, what: str) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), shedding(state, what)
        await launcher.spawn(wanted, facts)
        pid = await shed_pid(facts)
        group = group_of(wanted)
        assert "populated 1" in (group / "cgroup.events").read_text()
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0.2)
        await facts.gone()
        assert ended(pid)
        assert not group.exists()


@needs_groups
@on_loop
async def test_it_is_ended_and_named_when_the_run_leaves_it_behind(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), shedding(state, then="")
        await launcher.spawn(wanted, facts)
        [(pid, command)] = await facts.gone()
        assert ended(pid)
        assert "python" in command


@needs_groups
@on_loop
async def test_the_next_keeper_finds_it_by_the_record(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shedding(state)
        await launcher.spawn(wanted, facts)
        pid = await shed_pid(facts)
        kill_keeper(launcher)
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0.2)
        assert (await facts.exited()).lost
        await facts.gone()
        assert ended(pid)
        assert not group_of(wanted).exists()


@needs_groups
@on_loop
async def test_it_may_live_where_leftovers_may(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), replace(shedding(state, then=""), end_leftovers=False)
        await launcher.spawn(wanted, facts)
        pid = await shed_pid(facts)
        assert await facts.gone() == ()
        assert not ended(pid, patience=0)
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0)
    assert ended(pid)


@on_loop
async def test_without_a_group_it_is_not_found_and_all_else_is(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shedding(state)
        identity = await launcher.spawn(wanted, facts)
        pid = await shed_pid(facts)
        record = wanted.folder / "process.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"cgroup": None}))
        kill_keeper(launcher)
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0.2)
        await facts.gone()
        assert ended(identity.pid)
        assert not ended(pid, patience=0)
        os.kill(pid, signal.SIGKILL)
        assert ended(pid)


@needs_groups
@on_loop
async def test_groups_that_a_run_made_in_its_own_go_with_it(state: StateFolder) -> None:
    script = """
import os, sys, time
inner = sys.argv[1] + '/inner/most'
os.makedirs(inner)
if os.fork() == 0:
    with open(inner + '/cgroup.procs', 'w') as file:
        file.write('0')
    os.setsid()
    os.execve('/bin/sh', ['sh', '-c', 'echo inside; exec sleep 1000'], {})
time.sleep(1000)
"""
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, script)
        group = groups_of(state) / wanted.key
        await launcher.spawn(replace(wanted, argv=(*wanted.argv, str(group))), facts)
        await facts.line("inside")
        assert group_of(wanted) == group
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0.2)
        await facts.gone()
        assert not group.exists()


@needs_groups
@on_loop
async def test_a_run_that_cannot_be_started_leaves_no_group(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        with pytest.raises(CouldNotStart):
            await launcher.spawn(order(state, "/no/such/command"), Facts())
        assert not groups_of(state).exists()
