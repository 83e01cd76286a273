"""A record that a run, or another user, has planted: the keeper removes nothing for it."""

from __future__ import annotations

import os

import pytest

from actors.domain.errors import KeeperError
from actors.journal.state_folder import StateFolder
from actors.keeper import files, procfs
from actors.keeper.constants import PROCESS_FILE
from tests.integration.keeper.kit import embedded, lasting, on_loop


def plant(state: StateFolder, key: str, temp_dir: str) -> None:
    """The record of a run that is over, with ``temp_dir`` to be removed."""
    folder = state.runs / key
    folder.mkdir(mode=0o700)
    found = os.stat(temp_dir)
    note = {
        "format": 1,
        "key": key,
        "pid": 2**22,  # no process has it (proc_sys_kernel(5): pid_max)
        "start_ticks": 1,
        "boot_id": procfs.boot_id(),
        "pid_namespace": procfs.pid_namespace(),
        "temp_dir": temp_dir,
        "temp_dir_identity": [found.st_dev, found.st_ino],
    }
    files.replace(str(folder), PROCESS_FILE, note)


@on_loop
async def test_a_directory_that_was_not_made_for_a_run_is_not_removed(state: StateFolder) -> None:
    victim = state.path / "precious"
    victim.mkdir()
    (victim / "file").touch()
    plant(state, "planted.1", str(victim))
    async with lasting(state) as launcher:
        while not (await launcher.table())[0].tree_ended:
            pass
    assert (victim / "file").exists()
    assert "not made for a run" in (state.path / "keeper.log").read_text()


@on_loop
async def test_a_log_that_is_a_link_elsewhere_is_not_written_to(state: StateFolder) -> None:
    victim = state.path / "precious"
    victim.touch()
    async with embedded(state):
        pass
    (state.path / "keeper.log").unlink()
    (state.path / "keeper.log").symlink_to(victim)
    launcher = embedded(state)
    with pytest.raises(KeeperError, match="symbolic link"):
        await launcher.start()
    await launcher.aclose()
    (state.path / "keeper.log").unlink()
    assert victim.read_text() == ""
