"""What a run's tree uses, measured from outside."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace

import pytest

from actors.processes.state_folder import StateFolder
from actors.processes.tree import TreeUsage, measure
from tests.integration.processes.kit import Facts, embedded, needs_groups, on_loop, python

FAMILY = """
import os, time
ballast = b'x' * 30_000_000
children = [os.fork()]
if children[0] == 0:
    os.setsid()
    os.fork()
print('ready')
time.sleep(1000)
"""


ORPHAN = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {becomes}
    os._exit(0)
os.wait()
print('ready')
time.sleep(1000)
"""
HOLDS = "ballast = b'x' * 30_000_000; print('ready'); time.sleep(1000)"
SHEDS = "os.execve(PYTHON, [PYTHON, '-ISuc', 'import time; ' + HOLDS], {})"


@pytest.mark.parametrize(
    "becomes",
    [HOLDS, pytest.param(SHEDS, marks=needs_groups)],
    ids=["orphan", "orphan that dropped its environment"],
)
@on_loop
async def test_an_orphan_counts_for_its_run_and_for_no_other(
    state: StateFolder, becomes: str
) -> None:
    """Forked twice, in a session of its own, it is the keeper's child like those of other runs."""
    names = f"PYTHON, HOLDS = {sys.executable!r}, {HOLDS!r}\n"
    async with embedded(state) as launcher:
        wanted = python(state, names + ORPHAN.replace("{becomes}", becomes))
        other = python(state, "import time; print('ready'); time.sleep(1000)")
        facts, others_facts = Facts(), Facts()
        runs = {
            wanted.key: await launcher.spawn(wanted, facts),
            other.key: await launcher.spawn(other, others_facts),
        }
        await others_facts.line("ready")
        await facts.until(lambda: len(facts.lines) == 2)
        usage = measure(runs)
        assert (usage[wanted.key].processes, usage[other.key].processes) == (2, 1)
        assert usage[wanted.key].memory_bytes > 30_000_000
        assert usage[other.key].memory_bytes < 30_000_000


@on_loop
async def test_the_whole_tree_counts_and_only_while_it_lives(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, FAMILY)
        identity = await launcher.spawn(wanted, facts)
        await facts.until(lambda: len(facts.lines) == 3)
        stranger = replace(identity, start_ticks=identity.start_ticks + 1)
        usage = measure({wanted.key: identity})[wanted.key]
        assert usage.processes == 3
        assert usage.memory_bytes > 30_000_000
        assert measure({wanted.key: stranger}) == {wanted.key: TreeUsage()}
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        await facts.gone()
        assert measure({wanted.key: identity}) == {wanted.key: TreeUsage()}
