from __future__ import annotations

import base64
import io
import os
import stat
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from actors.cli.quickstart.api import SampleRun, ServerApi
from actors.cli.quickstart.folder import FLOWS, QuickstartFolder, default_folder
from actors.cli.quickstart.program import EXPECTED, listen, remove
from actors.cli.quickstart.programs import Program, environment, sweep
from actors.cli.quickstart.screen import WIDEST_REASON, Screen, table
from actors.domain.errors import StateFolderError, WorkerError
from tests.support.http_server import Reply, ScriptedServer


@pytest.fixture
def folder(tmp_path: Path) -> QuickstartFolder:
    return QuickstartFolder(tmp_path / "quickstart")


FOR_EVER = "import signal; signal.pause()"


def started(folder: QuickstartFolder, program: str = "", then: str = FOR_EVER) -> Program:
    """A program of ``folder`` that has run ``program`` when this returns, and goes on ``then``."""
    started_flag = folder.path / "started"
    os.mkfifo(started_flag)
    running = Program(
        "The sample",
        [sys.executable, "-c", f"{program}\nopen({str(started_flag)!r}, 'w').close()\n{then}"],
        env=environment(folder),
        cwd=folder.path,
        log=folder.worker_log,
    )
    started_flag.read_text()
    started_flag.unlink()
    return running


def wait_for_the_end_of_the_youngest_child() -> None:
    """It stays a zombie: who started it is to find out by itself."""
    child = max(psutil.Process().children(), key=psutil.Process.create_time)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_a_prepared_folder_has_the_sample_flows_that_quickstart_runs(
    folder: QuickstartFolder,
) -> None:
    folder.prepare()
    flows = (folder.flows / FLOWS).read_text()
    for flow in EXPECTED:
        assert f'@flow(name="{flow}"' in flows
        assert f"def {flow.replace('-', '_')}(" in flows


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


def test_removing_takes_all_of_it_and_says_so(folder: QuickstartFolder) -> None:
    folder.prepare()
    said = io.StringIO()
    remove(folder, said)
    assert not folder.path.exists()
    assert "Removed" in said.getvalue()
    remove(folder, said)
    assert "nothing to remove" in said.getvalue()


def test_removing_is_refused_while_it_runs(folder: QuickstartFolder) -> None:
    folder.prepare()
    with folder.held(), pytest.raises(StateFolderError, match="stop it with Ctrl-C"):
        remove(QuickstartFolder(folder.path), io.StringIO())
    assert folder.path.exists()


def test_the_command_line_names_the_folder_unless_it_is_the_default(
    folder: QuickstartFolder,
) -> None:
    assert folder.command == f"actor-worker quickstart --dir {folder.path}"
    assert QuickstartFolder(default_folder()).command == "actor-worker quickstart"


def test_the_port_of_an_earlier_time_is_remembered(folder: QuickstartFolder) -> None:
    folder.prepare()
    assert folder.port is None
    folder.port = 4711
    assert QuickstartFolder(folder.path).port == 4711


def test_a_wanted_port_is_taken_if_it_is_free_and_another_one_if_not() -> None:
    with listen() as listener:
        wanted = listener.getsockname()[1]
        with listen(wanted) as another:
            assert another.getsockname()[1] != wanted
    with listen(wanted) as listener:
        assert listener.getsockname()[1] == wanted


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
    env = environment(folder, PREFECT_WORKER_QUERY_SECONDS="1")
    assert "PREFECT_API_URL" not in env
    assert "ACTOR_WORKER_LIMIT" not in env
    assert env["PREFECT_WORKER_QUERY_SECONDS"] == "1"
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


def test_requests_carry_the_authorization_and_are_sent_again_to_a_busy_server(
    folder: QuickstartFolder,
) -> None:
    folder.prepare()
    token = base64.b64encode(folder.authorization.encode()).decode()
    with ScriptedServer() as server, closing(ServerApi(server.url, folder.authorization)) as api:
        server.script(Reply(503, {}), Reply(201, {}))
        api.ensure_pool()
        assert [request.method for request in server.received] == ["POST", "POST"]
        for request in server.received:
            assert request.headers["Authorization"] == f"Basic {token}"


def test_links_lead_to_the_pages_that_ask_for_the_authorization() -> None:
    with ScriptedServer() as server, closing(ServerApi(server.url, "u:p")) as api:
        address = server.url.removesuffix("/api")
        server.script(Reply(200, {"v2_base_url": "/v2"}), Reply(200, {"api_url": server.url}))
        assert api.pages() == f"{address}/v2"
        assert api.pages() == address


def test_the_table_has_a_line_and_a_link_for_each_run() -> None:
    runs = [
        SampleRun(id="1", flow="succeeds", state="Completed", seconds=1.25, over=True),
        SampleRun(id="2", flow="fails", state="Failed", message="why\n" + "y" * 500, over=True),
    ]
    assert table(runs, "http://h/runs/flow-run/").splitlines() == [
        "FLOW      STATE      TOOK   PAGE",
        "succeeds  Completed  1.2 s  http://h/runs/flow-run/1",
        "fails     Failed            http://h/runs/flow-run/2",
        "          why",
    ]


def test_a_long_reason_is_cut_in_the_table() -> None:
    run = SampleRun(id="1", flow="fails", state="Failed", message="y" * 500)
    reason = table([run], "").splitlines()[-1].strip()
    assert len(reason) == WIDEST_REASON
    assert reason.endswith("...")


def test_steps_are_whole_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.begin("Baking")
    screen.tick()
    screen.end("done")
    assert out.getvalue().splitlines()[0] == "Baking ..."
    assert out.getvalue().splitlines()[1].startswith("  done after ")
    assert "\r" not in out.getvalue()
