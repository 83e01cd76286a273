"""A state folder per test. Afterwards no keeper and no process of any of its runs may be left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.journal.state_folder import StateFolder
from tests.integration.keeper.kit import Gate, ended, groups_of, keepers_of, marked


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    yield folder
    folder.release()
    stuck = [pid for pid in keepers_of(folder) if not ended(pid)]
    for pid in stuck:
        os.kill(pid, signal.SIGKILL)
    log = folder.path / "keeper.log"
    said = log.read_text() if log.exists() else ""
    assert (stuck, marked(os.listdir(folder.runs))) == ([], []), said
    assert "Traceback" not in said, said
    assert not groups_of(folder).exists()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.close()
