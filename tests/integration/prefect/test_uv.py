"""Flows whose dependencies uv installs."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.prefect.kit import Place

AUTO_INSTALL = "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES"
PROGRAM = """
import os, sys
from prefect import flow

@flow
def notes(name: str):
    import helper
    with open(os.path.join(os.environ["NOTES"], name), "w") as notes:
        notes.write(os.environ.get("UV_RUN_RECURSION_DEPTH", "no uv"))
"""
STAND_IN = """#!/bin/sh
{{ pwd; for argument in "$@"; do echo "$argument"; done; }} > '{folder}/recorded'
while [ "$1" != engine ]; do bootstrap="$1"; shift; done
UV_RUN_RECURSION_DEPTH=1 exec '{python}' "$bootstrap" "$@"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that names Prefect, whose flows are in a folder of it."""
    folder = tmp_path / "project"
    (folder / "flows").mkdir(parents=True)
    (folder / "flows" / "flows.py").write_text(PROGRAM)
    (folder / "flows" / "helper.py").touch()
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\n'
        'dependencies = ["prefect"]\n'
    )
    return folder


def run(place: Place, project: Path, name: str, *, pulled: bool, **env: str) -> str:
    flows = str(project / "flows")
    step = {"prefect.deployments.steps.set_working_directory": {"directory": flows}}
    variables: dict[str, Any] = {"env": {"NOTES": str(place.folder), AUTO_INSTALL: "true"} | env}
    if not pulled:
        # as the deployment's folder, since the workspace bounds the search for a project
        variables["working_dir"] = flows
    fields: dict[str, Any] = {"pull_steps": [step]} if pulled else {}
    deployment = place.deploy(
        flow_id=place.admin.create_flow("notes"),
        entrypoint="flows.py:notes",
        parameters={"name": name},
        job_variables=variables,
        **fields,
    )
    return place.admin.create_run(deployment)


def with_command(folder: Path, text: str) -> str:
    """A PATH that begins with a folder with this command uv."""
    folder.mkdir()
    command = folder / "uv"
    command.write_text(text)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return f"{folder}:/usr/bin:/bin"


@pytest.mark.series("3.8", "3.9")
def test_uv_is_started_as_prefects_worker_does(place: Place, project: Path) -> None:
    stand_in = STAND_IN.format(folder=place.folder, python=place.python)
    path = with_command(place.folder / "bin", stand_in)
    started = run(place, project, "by-uv", pulled=True, PATH=path)
    with place.worker():
        assert place.state_once(started)["type"] == "COMPLETED"
    where, *argv = (place.folder / "recorded").read_text().splitlines()
    bootstrap = argv.pop(-3)
    assert where == str(project / "flows")
    assert Path(bootstrap).name == "_workspace_runtime_bootstrap.py"
    command = ["run", "--no-default-groups", "--project", str(project)]
    assert argv == [*command, "engine", "flows.py:notes"]
    assert (place.folder / "by-uv").read_text() == "1"


def real_uv() -> str | None:
    """The uv of PyPI, beside this interpreter, or of the machine."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


@pytest.mark.skipif(real_uv() is None, reason="there is no uv")
@pytest.mark.series("3.9")
@pytest.mark.parametrize("pulled", [True, False])
def test_the_real_uv_runs_a_project(place: Place, project: Path, pulled: bool) -> None:
    """Without downloads: the project's environment is there, and complete."""
    uv = real_uv()
    assert uv is not None
    where = project if pulled else project / "flows"
    if not pulled:
        shutil.copy(project / "pyproject.toml", where)
    env = {
        "PATH": f"{Path(uv).parent}:/usr/bin:/bin",
        "UV_NO_SYNC": "1",
        "UV_OFFLINE": "1",
        "UV_PROJECT_ENVIRONMENT": str(Path(place.python).parent.parent),
    }
    started = run(place, project, "by-uv", pulled=pulled, **env)
    with place.worker():
        assert place.state_once(started)["type"] == "COMPLETED"
    assert (place.folder / "by-uv").read_text() == "1"


@pytest.mark.series("3.1", "3.9")
@pytest.mark.parametrize("pulled", [True, False])
def test_without_uv_or_with_an_older_prefect_the_plain_engine_runs_and_says_so(
    place: Place, project: Path, pulled: bool
) -> None:
    started = run(place, project, "plain", pulled=pulled, PATH="/usr/bin:/bin")
    with place.worker():
        assert place.state_once(started)["type"] == "COMPLETED"
        why = "no command uv" if place.server_series >= (3, 8) else "older than 3.8.4"
        assert AUTO_INSTALL in place.log_once(started, why)
    assert (place.folder / "plain").read_text() == "no uv"


@pytest.mark.series("3.9")
def test_a_project_that_does_not_name_prefect_is_run_without_uv(
    place: Place, project: Path
) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\n')
    path = with_command(place.folder / "bin", "#!/bin/sh\nexit 9\n")
    started = run(place, project, "plain", pulled=True, PATH=path)
    with place.worker():
        assert place.state_once(started)["type"] == "COMPLETED"
    assert (place.folder / "plain").read_text() == "no uv"
