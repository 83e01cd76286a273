"""What a run's tree uses, measured from outside."""

from __future__ import annotations

import signal
from dataclasses import replace

from actors.processes.state_folder import StateFolder
from actors.processes.tree import TreeUsage, measure
from tests.integration.processes.kit import Facts, embedded, on_loop, python

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
