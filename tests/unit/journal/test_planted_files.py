"""What somebody else may have put into a state folder that was open to others once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.domain.errors import StateFolderError
from actors.domain.ids import FlowRunId, new_transition_id
from actors.domain.run import new_run
from actors.journal.run_folders import RunFolders, Save
from actors.keeper import files
from actors.keeper.helpers import Helpers
from actors.keeper.output_reader import tail
from actors.keeper.run_resources import TempDir, remove_temp_dir
from actors.keeper.table import note_of, recorded
from tests.support.builders import a_run
from tests.support.users import NOBODY, as_root
from tests.unit.journal.test_records import PROCESS

NAME = "tmp0123456789abprefect"


def a_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def a_fifo(path: Path, target: Path) -> None:
    os.mkfifo(path)


def a_strangers(path: Path, target: Path) -> None:
    path.write_bytes(target.read_bytes())
    os.chown(path, NOBODY, NOBODY)


planted = pytest.mark.parametrize(
    "plant", [a_link, a_fifo, pytest.param(a_strangers, marks=as_root)]
)
Plant = Callable[[Path, Path], None]


@planted
def test_a_planted_record_is_not_believed(tmp_path: Path, plant: Plant) -> None:
    (tmp_path / "run").mkdir()
    files.replace(str(tmp_path), "victim", PROCESS)
    plant(tmp_path / "run" / "process.json", tmp_path / "victim")
    plant(tmp_path / "run" / "output-000000000000000", tmp_path / "victim")
    assert note_of(str(tmp_path / "run")) is None
    assert tail(tmp_path / "run", 10) == ()


@planted
def test_a_planted_draft_is_not_written_to(tmp_path: Path, plant: Plant) -> None:
    (tmp_path / "victim").write_text("precious")
    plant(tmp_path / f"exit.json.{os.getpid()}.new", tmp_path / "victim")
    with pytest.raises(OSError, match=str(tmp_path)):
        files.replace(str(tmp_path), "exit.json", {})
    assert (tmp_path / "victim").read_text() == "precious"


@planted
def test_a_planted_probe_is_not_written_to(tmp_path: Path, plant: Plant) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "runs").mkdir()
    plant(tmp_path / "runs" / "room", tmp_path / "victim")
    with pytest.raises(StateFolderError):
        RunFolders(tmp_path / "runs").check()
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_run_folder_that_is_a_link_is_nobodys(tmp_path: Path) -> None:
    record = new_run(
        a_run(FlowRunId("f3b7c6de-5a30-4d3c-8f5e-7d0d4e0f7a01")),
        worker="w",
        transition=new_transition_id(),
    ).record
    elsewhere = RunFolders(tmp_path / "elsewhere")
    save = Save(record)
    elsewhere.save([save])
    assert save.error is None
    files.replace(str(tmp_path / "elsewhere" / record.key), "process.json", PROCESS)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / record.key).symlink_to(tmp_path / "elsewhere" / record.key)
    assert len(elsewhere.read_all()) == 1
    assert RunFolders(tmp_path / "runs").read_all() == []
    assert len(list(recorded(str(tmp_path / "elsewhere")))) == 1
    assert list(recorded(str(tmp_path / "runs"))) == []


def test_a_record_that_is_nested_too_deeply_is_not_believed(tmp_path: Path) -> None:
    folder = tmp_path / "f3b7c6de-5a30-4d3c-8f5e-7d0d4e0f7a01.1"
    folder.mkdir()
    for name in ("run.json", "process.json"):
        (folder / name).write_text("[" * 200_000)
    assert RunFolders(tmp_path).read_all() == []
    assert note_of(str(folder)) is None


def removed(directory: TempDir) -> bool:
    """Whether the directory, which is empty, was removed."""
    over: list[bool] = []
    remove_temp_dir(directory, Helpers(), lambda: over.append(True))
    assert over == [True]
    return not os.path.lexists(directory.path)


def test_a_temporary_directory_that_was_made_is_removed(tmp_path: Path) -> None:
    made = TempDir.create(str(tmp_path))
    assert removed(made)
    assert removed(made)  # it is gone already


def test_one_whose_identity_is_unknown_stays(tmp_path: Path) -> None:
    assert not removed(TempDir(TempDir.create(str(tmp_path)).path, None))


def test_what_cannot_have_been_made_for_a_run_stays(tmp_path: Path) -> None:
    made = TempDir.create(str(tmp_path))
    victim = tmp_path / "precious"
    victim.mkdir()
    (tmp_path / NAME).symlink_to(victim)
    found = victim.stat()
    for path, identity in (
        (victim, None),
        (victim, [found.st_dev, found.st_ino]),
        (tmp_path / NAME, None),
        (tmp_path / NAME, [found.st_dev, found.st_ino]),
        (made.path, [found.st_dev, found.st_ino]),
        (made.path, []),
        (os.path.relpath(made.path), made.identity),
    ):
        assert not removed(TempDir(str(path), identity))
    assert victim.is_dir()
