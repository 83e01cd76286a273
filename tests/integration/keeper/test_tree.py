"""What a run's tree holds, measured from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from actors.domain.ids import ClaimKey
from actors.domain.process import ProcessIdentity
from actors.journal.state_folder import StateFolder
from actors.keeper.process_scan import ProcessScan
from actors.processes.memory_cgroup import memory_cgroup_of
from actors.processes.resource_monitor import MeasuredTree, measure
from tests.integration.keeper.kit import Facts, embedded, needs_groups, on_loop, python

FAMILY = """
import os, time
if os.fork() == 0:
    os.setsid()
    os.fork()
ballast = b'x' * 30_000_000
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


def no_scan() -> ProcessScan:
    raise AssertionError("nobody's processes are to be looked at")


def tree(key: ClaimKey, process: ProcessIdentity) -> dict[ClaimKey, MeasuredTree]:
    return {key: MeasuredTree(key, process)}


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
        trees = {
            **tree(wanted.key, await launcher.spawn(wanted, facts)),
            **tree(other.key, await launcher.spawn(other, others_facts)),
        }
        await others_facts.line("ready")
        await facts.until(lambda: len(facts.lines) == 2)
        held = measure(trees)
        assert held[wanted.key] > 30_000_000
        assert held[other.key] < 30_000_000


@on_loop
async def test_the_whole_tree_counts_and_only_while_it_lives(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, FAMILY)
        process = await launcher.spawn(wanted, facts)
        await facts.until(lambda: len(facts.lines) == 3)
        assert 90_000_000 < measure(tree(wanted.key, process))[wanted.key] < 180_000_000
        later = replace(process, start_ticks=process.start_ticks + 1)
        assert measure(tree(ClaimKey("other"), later)) == {}
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        await facts.gone()
        assert measure(tree(wanted.key, process)) == {}


def test_without_runs_to_measure_nobody_is_looked_at() -> None:
    assert measure({}, take_scan=no_scan) == {}


@contextmanager
def group_of_its_own(key: ClaimKey) -> Iterator[Path]:
    """A control group of the run's own that counts its memory; skips where there can be none."""
    above = memory_cgroup_of()
    folder = None if above is None else above.folder / key
    try:
        if folder is None:
            raise OSError("there are no control groups")
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no memory control group may be created here: {error}")
    try:
        if memory_cgroup_of_any(folder) is None:
            pytest.skip("groups get no memory controller here")
        yield folder
    finally:
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def memory_cgroup_of_any(folder: Path) -> str | None:
    names = ("memory.current", "memory.usage_in_bytes")
    return next((name for name in names if (folder / name).exists()), None)


READS = """
import sys
with open(sys.argv[1], 'wb') as file:
    for _ in range(60):
        file.write(b'x' * 1_000_000)
with open(sys.argv[1], 'rb') as file:
    while file.read(1_000_000):
        pass
import os, time
ballast = b'x' * 30_000_000
print('ready')
time.sleep(1000)
"""


@on_loop
async def test_a_control_group_that_counts_its_memory_is_asked(
    state: StateFolder, tmp_path: Path
) -> None:
    """Of version 1 as of version 2. Contents of files that the kernel keeps are not the run's."""
    wanted = python(state, READS)
    entering = ("sh", "-c", 'echo 0 > "$0"/cgroup.procs && exec "$@"')
    with group_of_its_own(wanted.key) as group:
        async with embedded(state) as launcher:
            facts = Facts()
            argv = (*entering, str(group), *wanted.argv, str(tmp_path / "file"))
            process = await launcher.spawn(replace(wanted, argv=argv), facts)
            await facts.line("ready")
            measured = tree(wanted.key, process)
            held = measure(measured, take_scan=no_scan)[wanted.key]
            assert 30_000_000 < held < 60_000_000
            await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
            await facts.gone()
            os.rmdir(group)
            assert measure(measured) == {}
