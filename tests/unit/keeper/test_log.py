"""What the keeper says does not grow without bound, however long it lives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.keeper.program import Log
from actors.keeper.runs import SAVE_AGAIN, Runs
from actors.keeper.table import Run
from tests.unit.keeper.manual_loop import ManualLoop


@contextlib.contextmanager
def logging_to(path: Path, max_bytes: int) -> Iterator[Log]:
    with path.open("ab") as file:
        yield Log(str(path), file.fileno(), max_bytes)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with logging_to(tmp_path / "log", 100) as log:
        yield log


def test_a_log_that_is_full_begins_anew_and_the_former_one_stays(log: Log, tmp_path: Path) -> None:
    for number in range(25):
        log.write(b"line %04d\n" % number)
    kept = (tmp_path / "log.old").read_bytes() + (tmp_path / "log").read_bytes()
    assert kept.splitlines() == [b"line %04d" % number for number in range(10, 25)]


def test_a_line_that_no_disk_takes_is_dropped(log: Log, tmp_path: Path) -> None:
    (tmp_path / "log.old" / "in the way").mkdir(parents=True)
    assert log.write(b"x" * 60) == log.write(b"y" * 60) == 60
    assert (tmp_path / "log").read_bytes() == b"x" * 60


def test_what_is_in_the_log_already_counts(tmp_path: Path) -> None:
    for number in range(3):
        with logging_to(tmp_path / "log", 10) as log:
            log.write(b"line %d" % number)
    assert (tmp_path / "log").read_bytes() == b"line 2"


def test_an_exit_that_no_disk_takes_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = ManualLoop()
    runs = Runs(loop, lambda *_: None, lambda: True)
    note = {"key": "r.1", "pid": 1, "start_ticks": 1, "boot_id": "", "pid_namespace": ""}
    run = Run(str(tmp_path / "folder"), note, None, ours=False)
    (tmp_path / "folder").touch()
    runs.record(run)
    runs.record(run)
    loop.advance(100 * SAVE_AGAIN)
    assert capsys.readouterr().err.count("cannot be recorded yet") == 1
    (tmp_path / "folder").unlink()
    (tmp_path / "folder").mkdir()
    loop.advance(SAVE_AGAIN)
    runs.close()
    assert capsys.readouterr().err.count("recorded now") == 1
    assert (tmp_path / "folder" / "exit.json").exists()
