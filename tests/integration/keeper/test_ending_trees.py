"""Ending a run, all of it: whatever it started, and however that tries to stay."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest

from actors.journal.state_folder import StateFolder
from actors.processes.launcher import KeeperLauncher
from tests.integration.keeper.kit import (
    PATIENCE,
    Facts,
    embedded,
    marked,
    on_loop,
    python,
    shell,
    zombies_of,
)

GRACE = 0.2

PLAIN = "import subprocess; subprocess.Popen(['sleep', '1000']); print('ready'); "
WAIT = "import time; time.sleep(1000)"

STUBBORN = """
import signal
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print('ready')
"""

SETSID = """
import os, time
if os.fork() == 0:
    os.setsid()
    print('ready')
    time.sleep(1000)
"""

DOUBLE_FORK = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print('ready')
        time.sleep(1000)
    os._exit(0)
os.wait()
"""

SHED_ENVIRONMENT = """
import os, time
if os.fork() == 0:
    os.setsid()
    os.execve('/bin/sh', ['sh', '-c', 'echo ready; exec sleep 1000'], {})
"""

OWN_GROUP = """
import os, signal, time
if os.fork() == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('ready')
    time.sleep(1000)
"""

STOPPED = """
import os, signal
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
os.waitid(os.P_PID, child, os.WSTOPPED)
print('ready')
"""

STORM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in range(200):
    if os.fork() == 0:
        if number % 3 == 0:
            os.setsid()
        time.sleep(1000)
        os._exit(0)
print('ready')
"""

RABBITS = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready')
end = time.monotonic() + 60  # should a test be cut short, nobody else would end it
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    time.sleep(0.002)
"""

TREES = {
    "plain child": PLAIN + WAIT,
    "background child": PLAIN,
    "child in its own session": SETSID + WAIT,
    "child forked twice": DOUBLE_FORK + WAIT,
    "child that dropped its environment": SHED_ENVIRONMENT + WAIT,
    "ignores polite signals": STUBBORN + WAIT,
    "storm of 200": STORM + WAIT,
    "child that changed its group": OWN_GROUP + WAIT,
    "stopped child": STOPPED + WAIT,
    "stops itself": "import os, signal; print('ready'); os.kill(os.getpid(), signal.SIGSTOP)",
    "moves on by forking": "import os\nif os.fork(): " + "import time; time.sleep(1000)" + RABBITS,
}


async def no_zombies(launcher: KeeperLauncher) -> bool:
    """Whether the keeper has waited for all its children, within a few of its turns."""
    for _ in range(100):
        if not zombies_of(launcher.keeper_pid or 0):
            return True
        await launcher.table()
    return False


@pytest.mark.parametrize("tree", TREES.values(), ids=list(TREES))
@on_loop
async def test_nothing_is_left_of_a_tree_that_is_ended(state: StateFolder, tree: str) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, tree)
        await launcher.spawn(wanted, facts)
        await facts.line("ready")
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=GRACE)
        await facts.gone()
        assert marked([wanted.key]) == []
        assert await no_zombies(launcher)


@pytest.mark.parametrize("tree", TREES.values(), ids=list(TREES))
@on_loop
async def test_nothing_is_left_when_the_embedding_worker_ends(
    state: StateFolder, tree: str
) -> None:
    wanted = python(state, tree)
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        await facts.line("ready")
    assert marked([wanted.key]) == []


@on_loop
async def test_a_polite_process_may_use_its_grace(state: StateFolder) -> None:
    script = "trap 'echo ending; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    async with embedded(state) as launcher:
        facts, wanted = Facts(), shell(state, script)
        await launcher.spawn(wanted, facts)
        await facts.line("ready")
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE)
        assert (await facts.exited()).code == 5
        assert "ending" in facts.lines


@on_loop
async def test_a_second_order_shortens_the_grace(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, STUBBORN + WAIT)
        await launcher.spawn(wanted, facts)
        await facts.line("ready")
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=10_000)
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=0)
        assert (await facts.exited()).code == -signal.SIGKILL


@on_loop
async def test_the_chosen_signal_is_sent_once_to_each_process(state: StateFolder) -> None:
    script = """
import os, signal
child = os.fork()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGALRM])
signal.alarm(20)
print('ready', flush=True) if child else None
def say(*words):  # in one piece, or the lines of two processes would mingle
    os.write(1, (' '.join(map(str, words)) + '\\n').encode())
say('got', signal.sigwait([signal.SIGUSR1, signal.SIGALRM]) == signal.SIGUSR1)
say('again', signal.SIGUSR1 in signal.sigpending())
os.waitpid(child, 0) if child else None
"""
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, "import time\n" + script)
        await launcher.spawn(wanted, facts)
        await facts.line("ready")
        await launcher.end_tree(wanted.key, signal=signal.SIGUSR1, grace_seconds=PATIENCE)
        await facts.exited()
    assert sorted(facts.lines) == ["again False"] * 2 + ["got True"] * 2 + ["ready"]


@on_loop
async def test_what_a_run_leaves_behind_is_ended_and_named(state: StateFolder) -> None:
    script = DOUBLE_FORK.replace("print('ready')", "os.write(1, b'')") + "import sys; sys.exit(4)"
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, script)
        await launcher.spawn(wanted, facts)
        assert (await facts.exited()).code == 4
        [(pid, command)] = await facts.gone()
        assert pid != (await launcher.table())[0].identity.pid
        assert "python" in command
        assert marked([wanted.key]) == []
        recorded = (wanted.folder / "exit.json").read_text()
        assert [number for number, _ in json.loads(recorded)["leftovers"]] == [pid]
        assert "import os" not in command + recorded  # a command line may hold secrets


@on_loop
async def test_a_background_child_that_holds_the_output_does_not_delay_the_exit(
    state: StateFolder,
) -> None:
    script = "trap '' TERM; (trap '' TERM; sleep 1000) & echo last words"
    async with embedded(state) as launcher:
        facts = Facts()
        wanted = replace(shell(state, script), end_leftovers=False)
        await launcher.spawn(wanted, facts)
        await facts.exited()
        assert facts.lines == ["last words"]
        assert marked([wanted.key]) != []
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        await launcher.forget(wanted.key)


@on_loop
async def test_leftovers_may_be_left_and_still_be_ended_later(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        wanted = replace(python(state, DOUBLE_FORK), end_leftovers=False)
        await launcher.spawn(wanted, facts)
        assert await facts.gone() == ()
        assert len(marked([wanted.key])) == 1
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
    assert marked([wanted.key]) == []


@on_loop
async def test_a_hundred_runs_end_at_once(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        several = [(Facts(), shell(state, "echo ready; exec sleep 1000")) for _ in range(100)]
        for facts, wanted in several:
            await launcher.spawn(wanted, facts)
        for facts, wanted in several:
            await facts.line("ready")
            await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE)
        for facts, _ in several:
            assert (await facts.exited()).code == -signal.SIGTERM
            await facts.gone()
        assert await no_zombies(launcher)
