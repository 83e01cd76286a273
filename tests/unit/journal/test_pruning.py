"""What is kept of runs that are over, and what is removed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from actors.domain.ids import ClaimKey, FlowRunId, hooks_key, new_transition_id
from actors.domain.record import Phase, Reason, RunRecord
from actors.domain.run import new_run
from actors.journal.journal import FolderJournal
from actors.journal.run_folders import SETTLED_FILE, RunFolders, Save
from actors.journal.state_folder import StateFolder
from actors.keeper.constants import EXIT_FILE
from tests.support.builders import a_run
from tests.support.on_loop import on_loop

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = 86_400.0


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path)
    state.prepare()
    return state


def record() -> RunRecord:
    return new_run(
        a_run(FlowRunId(str(uuid.uuid4()))), worker="w", transition=new_transition_id()
    ).record


def settled(state: StateFolder, days_ago: float) -> Path:
    """The folder of a claim that was settled so long ago."""
    made = replace(record(), reason=Reason.EXITED)
    RunFolders(state.runs).save([Save(made, is_last=True)])
    folder = state.runs / made.key
    when = NOW.timestamp() - days_ago * DAY
    os.utime(folder / SETTLED_FILE, (when, when))
    return folder


def prune(state: StateFolder, *, days: float = 7.0, count: int = 1000) -> int:
    return RunFolders(state.runs).prune(NOW.timestamp(), days * DAY, count)


def test_the_folder_of_hooks_goes_with_that_of_its_claim(state: StateFolder) -> None:
    folders = [settled(state, 6), settled(state, 8)]
    young, old = [folder.with_name(hooks_key(ClaimKey(folder.name))) for folder in folders]
    for hooks in (young, old):
        hooks.mkdir()
        (hooks / EXIT_FILE).touch()
        os.utime(hooks, (NOW.timestamp(), NOW.timestamp()))
    assert prune(state) == 2
    assert (old.exists(), young.exists()) == (False, True)


def test_what_is_older_than_allowed_goes(state: StateFolder) -> None:
    old, young = settled(state, 8), settled(state, 6)
    assert prune(state) == 1
    assert (old.exists(), young.exists()) == (False, True)


def test_of_too_many_the_newest_stay(state: StateFolder) -> None:
    folders = [settled(state, days) for days in (1, 3, 2)]
    assert prune(state, count=2) == 1
    assert [folder.exists() for folder in folders] == [True, False, True]


def test_a_claim_that_is_not_settled_stays_however_old(state: StateFolder) -> None:
    made = record()
    RunFolders(state.runs).save([Save(made)])
    os.utime(state.runs / made.key, (0, 0))
    assert prune(state, days=0, count=0) == 0
    assert [r.phase for r in RunFolders(state.runs).read_all()] == [Phase.CLAIMING]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_a_folder_that_cannot_be_removed_costs_only_itself(state: StateFolder) -> None:
    stuck, other = settled(state, 8), settled(state, 9)
    stuck.chmod(0o500)
    try:
        assert prune(state) == 1
    finally:
        stuck.chmod(0o700)
    assert not other.exists()


@on_loop
async def test_it_is_done_in_a_thread(state: StateFolder) -> None:
    old = settled(state, 8)
    calls: list[Callable[[], Any]] = []

    class Threads:
        async def run(self, call: Callable[[], Any]) -> Any:
            calls.append(call)
            assert old.exists()
            return call()

    threads = Threads()
    journal = FolderJournal(state, writer=threads, readers=threads)
    assert await journal.prune(NOW, keep_seconds=DAY, keep_count=1000) == 1
    assert len(calls) == 1
    assert not old.exists()
    await journal.aclose()
