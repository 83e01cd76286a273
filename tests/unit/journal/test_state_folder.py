"""The state folder: one worker at a time, for its owner only, of a version that is known."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from actors.domain.errors import SettingsError, StateFolderError
from actors.journal.state_folder import StateFolder
from actors.keeper.files import holds_lock
from tests.support.users import NOBODY, as_root


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_folder_that_is_there_is_closed_to_others(tmp_path: Path, mode: int) -> None:
    folder = StateFolder(tmp_path / "state")
    for path in (folder.path, folder.runs):
        path.mkdir()
        path.chmod(mode)
    folder.prepare()
    folder.prepare()
    for path in (folder.path, folder.runs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_what_is_created_is_for_its_owner_only_whatever_the_umask(
    tmp_path: Path, umask: int
) -> None:
    folder = StateFolder(tmp_path / "a" / "b" / "state")
    former = os.umask(umask)
    try:
        folder.prepare()
    finally:
        os.umask(former)
    for path in (tmp_path / "a", tmp_path / "a" / "b", folder.path, folder.runs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["", "runs"])
def test_a_symbolic_link_is_refused_as_a_wrong_setting(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o755)
    folder = StateFolder(tmp_path / "state")
    link = folder.path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match=r"symbolic link.*--state-dir"):
        folder.try_lock()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o755


@as_root
@pytest.mark.parametrize("name", ["", "runs"])
def test_another_users_folder_is_refused_as_a_wrong_setting(tmp_path: Path, name: str) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    os.chown(folder.path / name, NOBODY, NOBODY)
    with pytest.raises(SettingsError, match=r"belongs to user .*--state-dir.*chown"):
        folder.try_lock()


@pytest.mark.parametrize("name", ["format", "worker.lock"])
def test_a_symbolic_link_in_the_folder_is_not_followed(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = StateFolder(tmp_path / "state")
    folder.runs.mkdir(parents=True)
    (folder.path / name).symlink_to(victim)
    with pytest.raises(StateFolderError, match=f"{name}: it is a symbolic link"):
        folder.try_lock()
    assert victim.read_text() == "precious"


def test_the_lock_is_proved_by_its_holders_descriptors_only(tmp_path: Path) -> None:
    path = str(tmp_path / "worker.lock")
    with StateFolder(tmp_path) as holder:
        assert holder.try_lock()
        assert holder.lock is not None
        sent = os.dup(holder.lock)
        other = os.open(path, os.O_RDWR)
        assert holds_lock(sent, path)
        assert not holds_lock(other, path)
        assert not holds_lock(holder.lock, str(tmp_path / "format"))
        holder.release()
        assert not holds_lock(other, path)  # what was sent still holds it
        os.close(sent)
        assert holds_lock(other, path)
        os.close(other)


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
