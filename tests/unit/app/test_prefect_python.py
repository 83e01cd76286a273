from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from actors.app.prefect_python import check, find
from actors.domain.errors import SettingsError
from tests.support.trap import EVERYTHING, Trap


def script(path: Path, text: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def environment(folder: Path, *, prefect: str | None = None, python: str = "python3") -> Path:
    """A virtual environment by its files; its interpreter."""
    packages = folder / "lib" / "python3.12" / "site-packages"
    packages.mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    if prefect is not None:
        (packages / f"prefect-{prefect}.dist-info").mkdir()
    return script(folder / "bin" / python)


def looked_for(path: list[Path], *, given: str | None = None, own: bool = False) -> Path:
    joined = ":".join(str(folder) for folder in path)
    return find(given, path=joined, own_has_prefect=own)


def test_our_own_interpreter_comes_first_when_it_has_prefect(tmp_path: Path) -> None:
    other = environment(tmp_path, prefect="3.8.8")
    assert looked_for([other.parent], own=True) == Path(sys.executable)


def test_what_is_given_wins_over_everything(tmp_path: Path) -> None:
    given = environment(tmp_path / "given")
    assert looked_for([], given=str(given), own=True) == given


def test_a_given_name_is_looked_up_on_path(tmp_path: Path) -> None:
    given = environment(tmp_path, python="python3.12")
    assert looked_for([given.parent], given="python3.12") == given


def test_the_interpreter_beside_the_prefect_command_is_found(tmp_path: Path) -> None:
    home = environment(tmp_path / "pipx", prefect="3.8.8", python="python")
    script(home.parent / "prefect")
    links = tmp_path / "links"
    links.mkdir()
    (links / "prefect").symlink_to(home.parent / "prefect")
    assert looked_for([links]) == home


def test_python_is_tried_when_python3_has_no_prefect(tmp_path: Path) -> None:
    without = environment(tmp_path / "a")
    having = environment(tmp_path / "b", prefect="3.1.15", python="python")
    assert looked_for([without.parent, having.parent]) == having


def test_an_interpreter_outside_a_virtual_environment_is_followed_to_its_prefix(
    tmp_path: Path,
) -> None:
    real = environment(tmp_path / "usr", prefect="3.8.8", python="python3.12")
    (tmp_path / "usr" / "pyvenv.cfg").unlink()
    links = tmp_path / "alternatives"
    links.mkdir()
    (links / "python3").symlink_to(real)
    assert looked_for([links]) == links / "python3"


def test_a_shim_whose_files_tell_nothing_is_the_last_choice(tmp_path: Path) -> None:
    shim = script(tmp_path / "shims" / "python3")
    assert looked_for([shim.parent]) == shim
    having = environment(tmp_path / "b", prefect="3.8.8", python="python")
    assert looked_for([shim.parent, having.parent]) == having


@pytest.mark.parametrize("version", [None, "2.20.3"])
def test_without_prefect_3_both_remedies_are_named(tmp_path: Path, version: str | None) -> None:
    without = environment(tmp_path, prefect=version)
    with pytest.raises(SettingsError) as caught:
        looked_for([without.parent])
    assert "--python" in str(caught.value)
    assert "pip install 'actor-worker[local]'" in str(caught.value)


@pytest.mark.parametrize("given", ["no-such-command", "./no/such/file", "{tmp}", "{tmp}/text"])
def test_a_given_interpreter_that_cannot_be_one_is_named(tmp_path: Path, given: str) -> None:
    (tmp_path / "text").touch()
    given = given.format(tmp=tmp_path)
    with pytest.raises(SettingsError, match="--python names"):
        looked_for([tmp_path], given=given)


def checked(python: Path) -> str:
    return asyncio.run(check(python))


def test_checking_tells_the_version(tmp_path: Path) -> None:
    assert checked(script(tmp_path / "python", "echo 3.8.8")) == "3.8.8"


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("echo none", "has no Prefect"),
        ("echo 2.20.3", r"has Prefect 2\.20\.3"),
        ("echo broken >&2; exit 1", "does not work: broken"),
        ("exit 9", "does not work: no message"),
    ],
)
def test_checking_names_what_is_wrong_and_the_remedy(
    tmp_path: Path, answer: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        checked(script(tmp_path / "python", answer))
    assert "--python" in str(caught.value)


def test_checking_what_cannot_be_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be run: No such file"):
        checked(tmp_path / "gone")


def test_a_real_interpreter_is_asked_in_earnest(tmp_path: Path) -> None:
    python = Path(sys.executable)
    (tmp_path / "prefect-3.99.0.dist-info").mkdir()
    (tmp_path / "prefect-3.99.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: prefect\nVersion: 3.99.0\n"
    )
    assert asyncio.run(check(python, env={"PYTHONPATH": str(tmp_path)})) == "3.99.0"


def test_nothing_is_imported_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = Trap(tmp_path / "trap", EVERYTHING)
    monkeypatch.chdir(trap.path)
    empty_entry = {"PYTHONPATH": ":"}  # an empty entry means the working directory, too
    assert asyncio.run(check(Path(sys.executable), env=empty_entry)) != "3.99.0"
    assert trap.sprung == []


def test_the_interpreter_that_is_checked_is_told_no_secrets(tmp_path: Path) -> None:
    told = tmp_path / "told"
    python = script(tmp_path / "python", f"env > {told}; pwd >> {told}; echo 3.8.8")
    secrets = {
        "PREFECT_API_KEY": "pnu_1234",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"Authorization": "Bearer 5678"}',
        "AWS_SECRET_ACCESS_KEY": "abcd",
        "PIP_INDEX_URL": "https://me:efgh@packages/simple",
    }
    env = {"PATH": os.environ["PATH"], "PYENV_VERSION": "3.12", "PYTHONPATH": "/srv/lib"}
    asyncio.run(check(python, env=env | secrets))
    lines = told.read_text().splitlines()
    assert {f"{name}={value}" for name, value in env.items()} <= set(lines)
    assert not [name for name in secrets if name in told.read_text()]
    assert lines[-1] == "/"


def test_an_interpreter_found_by_a_relative_path_is_named_by_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    having = environment(tmp_path / "b", prefect="3.8.8", python="python")
    monkeypatch.chdir(tmp_path)
    assert find(None, path="b/bin", own_has_prefect=False) == having
    assert find("python", path="b/bin") == having


def test_an_interrupted_check_leaves_no_process_behind(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    python = script(tmp_path / "python", f"echo $$ > {fifo}; exec sleep 600")

    async def main() -> int:
        asking = asyncio.create_task(check(python))
        pid = int(await asyncio.to_thread(fifo.read_text))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return pid

    pid = asyncio.run(main())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
