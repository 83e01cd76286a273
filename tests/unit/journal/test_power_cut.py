"""What a power cut may take away, and what it may not."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from actors.domain.ids import new_transition_id
from actors.domain.record import Phase, RunRecord
from actors.domain.run import new_run
from actors.journal.run_folders import RunFolders, Save
from actors.journal.state_folder import StateFolder
from actors.keeper import files
from actors.keeper.helpers import GATHER_SECONDS, Flusher, Helpers
from actors.keeper.runs import Runs
from actors.keeper.table import Run
from tests.support.builders import a_run
from tests.unit.keeper.manual_loop import ManualLoop

PUBLISHING: dict[Callable[..., Any], str] = {
    os.fsync: "fsync",
    os.replace: "publish",
    os.link: "publish",
}


@contextmanager
def observed() -> Iterator[list[str]]:
    """What is done to files meanwhile, of what decides over what a power cut leaves."""
    seen: list[str] = []

    def watch(frame: FrameType, event: str, what: Any) -> None:
        if event == "c_call" and what in PUBLISHING:
            seen.append(PUBLISHING[what])

    former = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield seen
    finally:
        sys.setprofile(former)


def alone(test: Callable[[Path], None]) -> Callable[[Path], None]:
    """Run ``test`` in a process of its own: it waits for any child, as the keeper does."""

    @functools.wraps(test)
    def in_a_child(tmp_path: Path) -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                test(tmp_path)
                code = 0
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    return in_a_child


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path)
    state.prepare()
    return state


def a_record(phase: Phase, run: str = "run-id") -> RunRecord:
    record = new_run(a_run(run), worker="w", transition=new_transition_id()).record
    return replace(record, phase=phase)


def save(state: StateFolder, record: RunRecord) -> None:
    """As the journal does in its thread."""
    saves = [Save(record)]
    RunFolders(state.runs).save(saves)
    assert saves[0].error is None


@pytest.mark.parametrize("phase", [Phase.CLAIMING, Phase.SPAWNING])
def test_what_comes_before_a_claim_or_a_start_is_on_the_disk(
    state: StateFolder, phase: Phase
) -> None:
    with observed() as seen:
        save(state, a_record(phase))
    assert seen[:4] == ["fsync", "publish", "fsync", "fsync"]  # content, name, folder, `runs`
    assert set(seen[4:]) == {"publish"}  # the link to it


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.RUNNING, Phase.REPORTING])
def test_nobody_waits_for_the_disk_with_what_can_be_found_out_again(
    state: StateFolder, phase: Phase
) -> None:
    with observed() as seen:
        save(state, a_record(phase))
    assert seen == ["publish"]


@pytest.mark.parametrize("phase", [Phase.CLAIMING, Phase.SPAWNING])
@pytest.mark.parametrize("emptied", [True, False], ids=["empty", "gone"])
def test_a_record_that_a_power_cut_took_is_the_last_sure_one(
    state: StateFolder, phase: Phase, emptied: bool
) -> None:
    sure = a_record(phase)
    save(state, sure)
    save(state, replace(sure, phase=Phase.RUNNING, pid=7))
    path = state.runs / sure.key / "run.json"
    folders = RunFolders(state.runs)
    assert [record.phase for record in folders.read_all()] == [Phase.RUNNING]
    if emptied:
        path.write_bytes(b"")
    else:
        path.unlink()
    assert folders.read_all() == [sure]
    save(state, replace(sure, phase=Phase.RUNNING))
    assert [record.phase for record in folders.read_all()] == [Phase.RUNNING]


def test_the_record_of_a_process_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    with observed() as seen:
        files.create(str(tmp_path), "process.json", {})
    assert seen == ["fsync", "publish"]


@alone
def test_exits_are_brought_to_the_disk_by_one_child_while_the_keeper_turns(tmp_path: Path) -> None:
    loop, stuck, other = ManualLoop(), tmp_path / "stuck", tmp_path / "other"
    for path in (stuck, other):
        os.mkfifo(path)  # to open it takes as long as nobody writes to it
    helpers = Helpers()
    flusher = Flusher(loop, helpers)
    flusher.later(str(stuck))
    loop.advance(GATHER_SECONDS)
    flusher.later(str(other))
    loop.advance(10 * GATHER_SECONDS)
    for path in (stuck, other):
        os.close(os.open(path, os.O_WRONLY))  # which takes as long as nobody reads
        pid, _ = os.wait()
        assert helpers.reaped(pid)
        assert not helpers.reaped(pid)
        loop.advance(GATHER_SECONDS)
    with pytest.raises(ChildProcessError):
        os.wait()


@alone
def test_a_recorded_exit_is_brought_to_the_disk(tmp_path: Path) -> None:
    loop = ManualLoop()
    runs = Runs(loop, lambda *_: None, lambda: True)
    note = {"key": "r.1", "pid": 1, "start_ticks": 1, "boot_id": "", "pid_namespace": ""}
    run = Run(str(tmp_path), note, None, ours=False)
    with observed() as seen:
        runs.record(run)
        assert seen == ["publish"]
        runs.record(run)
        runs.close()
        assert seen == ["publish", "publish", "fsync", "fsync"]
    runs.record(run)
    loop.advance(GATHER_SECONDS)
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    unknown: list[int] = []
    runs.reap(lambda pid, _: unknown.append(pid))
    assert unknown == []
