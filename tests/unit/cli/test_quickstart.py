from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import psutil
import pytest

from actors.cli.quickstart.folder import FLOWS, QuickstartFolder, default_folder
from actors.cli.quickstart.program import Program, environment, listen, remove, sweep
from actors.domain.errors import StateFolderError, WorkerError


@pytest.fixture
def folder(tmp_path: Path) -> QuickstartFolder:
    return QuickstartFolder(tmp_path / "quickstart")


FOR_EVER = "import signal; signal.pause()"


def started(folder: QuickstartFolder, program: str = "", then: str = FOR_EVER) -> Program:
    """A program of ``folder`` that has run ``program`` when this returns, and goes on ``then``."""
    started_flag = folder.path / "started"
    os.mkfifo(started_flag)
    running = Program(
        "sample",
        [sys.executable, "-c", f"{program}\nopen({str(started_flag)!r}, 'w').close()\n{then}"],
        folder,
        environment(folder),
    )
    started_flag.read_text()
    started_flag.unlink()
    return running


def wait_for_the_end_of_the_youngest_child() -> None:
    """It stays a zombie: who started it is to find out by itself."""
    child = max(psutil.Process().children(), key=psutil.Process.create_time)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_a_prepared_folder_has_the_sample_flows(folder: QuickstartFolder) -> None:
    folder.prepare()
    assert '@flow(name="gets-cancelled"' in (folder.flows / FLOWS).read_text()


def test_flows_that_a_person_has_changed_are_kept(folder: QuickstartFolder) -> None:
    folder.prepare()
    (folder.flows / FLOWS).write_text("# mine")
    folder.prepare()
    assert (folder.flows / FLOWS).read_text() == "# mine"


def test_a_folder_with_somebody_elses_files_is_left_alone(folder: QuickstartFolder) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.txt").touch()
    for use in (folder.prepare, folder.exists):
        with pytest.raises(StateFolderError, match="was not made by quickstart"):
            use()
    assert (folder.path / "thesis.txt").exists()


def test_a_file_in_the_folders_place_is_named(folder: QuickstartFolder) -> None:
    folder.path.touch()
    with pytest.raises(StateFolderError, match="is not a folder"):
        folder.prepare()


def test_one_quickstart_at_a_time_uses_a_folder(folder: QuickstartFolder) -> None:
    folder.prepare()
    with (
        folder.held(),
        pytest.raises(StateFolderError, match=f"pid {os.getpid()}"),
        QuickstartFolder(folder.path).held(),
    ):
        pass
    with folder.held():
        pass


def test_removing_takes_all_of_it_and_says_so(
    folder: QuickstartFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.prepare()
    remove(folder)
    assert not folder.path.exists()
    assert "Removed" in capsys.readouterr().out
    remove(folder)
    assert "nothing to remove" in capsys.readouterr().out


def test_removing_is_refused_while_it_runs(folder: QuickstartFolder) -> None:
    folder.prepare()
    with folder.held(), pytest.raises(StateFolderError, match="stop it with Ctrl-C"):
        remove(QuickstartFolder(folder.path))
    assert folder.path.exists()


def test_the_command_line_names_the_folder_unless_it_is_the_default(
    folder: QuickstartFolder,
) -> None:
    assert folder.command == f"actor-worker quickstart --dir {folder.path}"
    assert QuickstartFolder(default_folder()).command == "actor-worker quickstart"


def test_the_port_of_the_last_time_is_taken_if_it_is_free_and_another_one_if_not(
    folder: QuickstartFolder,
) -> None:
    folder.prepare()
    with listen(folder) as listener:
        last = listener.getsockname()[1]
    with listen(folder) as listener:
        assert listener.getsockname()[1] == last
        with listen(folder) as another:
            assert another.getsockname()[1] != last


def test_an_authorization_only_its_user_can_read_is_kept_from_one_start_to_the_next(
    folder: QuickstartFolder,
) -> None:
    folder.prepare()
    authorization = folder.authorization
    user, password = authorization.split(":")
    assert user == "quickstart"
    assert len(password) >= 32
    assert stat.S_IMODE(folder.authorization_file.stat().st_mode) == 0o600
    folder.prepare()
    assert folder.authorization == authorization

    other = QuickstartFolder(folder.path.with_name("other"))
    other.prepare()
    assert other.authorization != authorization


def test_a_folder_from_before_gets_an_authorization_and_is_closed_to_others(
    folder: QuickstartFolder,
) -> None:
    folder.prepare()
    folder.authorization_file.unlink()
    folder.path.chmod(0o755)
    folder.prepare()
    assert folder.authorization
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_left_alone(folder: QuickstartFolder) -> None:
    folder.prepare()
    os.chown(folder.path, 4711, -1)
    for use in (folder.prepare, folder.exists):
        with pytest.raises(StateFolderError, match="belongs to another user"):
            use()


def test_settings_meant_for_other_servers_do_not_reach_the_programs(
    folder: QuickstartFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://production/api")
    monkeypatch.setenv("ACTOR_WORKER_LIMIT", "1")
    env = environment(folder)
    assert "PREFECT_API_URL" not in env
    assert "ACTOR_WORKER_LIMIT" not in env
    assert env["PATH"] == os.environ["PATH"]
    assert Path(env["PREFECT_HOME"]).is_relative_to(folder.path)


def test_a_program_that_ended_by_itself_is_quoted(folder: QuickstartFolder) -> None:
    folder.prepare()
    program = started(folder, then="import sys; sys.exit('out of luck')")
    wait_for_the_end_of_the_youngest_child()
    with pytest.raises(WorkerError, match=r"exit code 1(.|\n)*out of luck"):
        program.must_live()


def test_a_program_that_lives_is_left_alone_and_ends_when_told(folder: QuickstartFolder) -> None:
    folder.prepare()
    program = started(folder)
    program.must_live()
    program.end(30)
    with pytest.raises(WorkerError, match="exit code -15"):
        program.must_live()


def test_a_program_that_does_not_listen_is_killed(folder: QuickstartFolder) -> None:
    folder.prepare()
    program = started(folder)
    program.end(0)
    with pytest.raises(WorkerError, match=r"exit code -(9|15)"):
        program.must_live()


def test_what_a_killed_quickstart_left_is_swept_up_and_nothing_else(
    folder: QuickstartFolder, tmp_path: Path
) -> None:
    folder.prepare()
    other = QuickstartFolder(tmp_path / "other")
    other.prepare()
    bystander = started(other)
    # a child in a session of its own, as the keeper is, whose parent is gone
    started(
        folder,
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {FOR_EVER!r}], start_new_session=True)"
        "; open('child', 'w').write(str(child.pid))",
    ).end(30)
    child = psutil.Process(int((folder.path / "child").read_text()))
    assert sweep(folder) == 1
    assert not child.is_running()
    bystander.must_live()
    bystander.end(30)
