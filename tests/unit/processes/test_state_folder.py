"""The state folder: one worker at a time, for its owner only, of a version that is known."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from actors.domain.errors import StateFolderError
from actors.processes.state_folder import StateFolder


def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    folder.prepare()
    for path in (folder.path, folder.runs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_one_worker_at_a_time_holds_it(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as first, StateFolder(tmp_path) as second:
        assert first.try_lock()
        assert first.try_lock()
        assert not second.try_lock()
        first.release()
        assert second.try_lock()


@pytest.mark.parametrize("found", ["2", "next"])
def test_a_newer_format_is_refused_in_words(tmp_path: Path, found: str) -> None:
    StateFolder(tmp_path).prepare()
    (tmp_path / "format").write_text(found)
    with pytest.raises(StateFolderError, match="Update the worker"):
        StateFolder(tmp_path).prepare()


@pytest.mark.parametrize("found", [b"", b"\n", bytes(512), b"\xff\x00", b"1\x07"])
def test_a_format_that_a_power_cut_has_spoiled_is_written_anew(
    tmp_path: Path, found: bytes
) -> None:
    (tmp_path / "format").write_bytes(found)
    StateFolder(tmp_path).prepare()
    assert (tmp_path / "format").read_text() == "1\n"


def test_a_place_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderError, match="--state-dir"):
        StateFolder(tmp_path / "file" / "state").prepare()
