"""A small memory control group for tests of what the kernel does when it is full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.journal.state_folder import StateFolder
from actors.keeper.cgroup import Cgroup
from actors.processes.memory_cgroup import memory_cgroup_of

_START_KEEPER = """
import asyncio, sys
from pathlib import Path
from actors.processes.starting import KeeperOptions, start_keeper
assert asyncio.run(start_keeper(Path(sys.argv[1]), KeeperOptions()))
"""


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """The folder of a group that may use so much memory, without swapping; skips where it can't.

    With version 2 it lies below the root, since a group with processes cannot give limits to
    groups below it.
    """
    own = memory_cgroup_of()
    if own is None:
        pytest.skip("there are no control groups here")
    second = own.version == 2
    above = own.mount if second else own.folder
    folder = above / f"actor-worker-test-{os.getpid()}"
    limits = (
        {"memory.max": limit_bytes, "memory.swap.max": 0}
        if second
        else {"memory.limit_in_bytes": limit_bytes, "memory.memsw.limit_in_bytes": limit_bytes}
    )
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no memory control group may be created here: {error}")
    try:
        try:
            for name, value in limits.items():
                file = folder / name
                if "sw" not in name or file.exists():  # a kernel may do without a count of swap
                    file.write_text(str(value))
        except OSError as error:
            pytest.skip(f"the group has no memory controller: {error}")
        yield folder
    finally:
        Cgroup(str(folder)).kill()
        with contextlib.suppress(OSError):
            folder.rmdir()
        assert not folder.exists()


def start_keeper_in(group: Path, state: StateFolder) -> None:
    """Let a keeper that waits for its worker, and so its runs, be in ``group``."""
    state.prepare()
    entering = 'echo 0 > "$0/cgroup.procs" && exec "$@"'
    starting = [sys.executable, "-c", _START_KEEPER, str(state.path)]
    root = Path(__file__).parents[3]
    command = ["sh", "-c", entering, str(group), *starting]
    subprocess.run(command, check=True, timeout=60, cwd=root)
