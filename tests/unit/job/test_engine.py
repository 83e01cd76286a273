"""How the engine of a run is started."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.domain.ids import DeploymentId
from actors.domain.model import Deployment
from actors.job.engine import AUTO_INSTALL, ENGINE_START, EngineStart, engine_start

MODULE = ("-m", "prefect.engine")
FOLDER = Path("/srv/flows")
PULLED = Deployment(id=DeploymentId("d"), name="d", has_pull_steps=True)
COPIED = Deployment(id=DeploymentId("d"), name="d")
IN_PLACE = Deployment(id=DeploymentId("d"), name="d", local_entrypoint="flows.py:nightly")
AUTO = {AUTO_INSTALL: "True"}


def start(
    deployment: Deployment | None = COPIED,
    env: dict[str, str] | None = None,
    *,
    working_dir: Path | None = FOLDER,
    version: str = "3.9.1",
    has_uv: bool = True,
) -> EngineStart:
    return engine_start(
        ("python", *MODULE),
        env or {},
        deployment=deployment,
        working_dir=working_dir,
        prefect_version=version,
        has_uv=has_uv,
    )


@pytest.mark.parametrize("deployment", [None, COPIED])
def test_it_is_the_plain_engine_with_its_working_directory_on_the_path(
    deployment: Deployment | None,
) -> None:
    assert start(deployment) == EngineStart(argv=("python", *MODULE), env={}, on_python_path=True)


def test_pull_steps_decide_where_it_works_so_it_sets_the_path_itself() -> None:
    started = start(PULLED)
    assert started.argv == ("python", str(ENGINE_START), *MODULE)
    assert not started.on_python_path


def test_it_is_told_the_entrypoint_where_nothing_brings_the_code() -> None:
    started = start(IN_PLACE, {"A": "1"})
    assert started.env == {"A": "1", "PREFECT__FLOW_ENTRYPOINT": "flows.py:nightly"}
    assert started.remarks == ((logging.INFO, "Flow code is loaded from '/srv/flows'."),)
    assert start(IN_PLACE, working_dir=None).remarks == ()


def test_an_entrypoint_that_a_user_has_set_counts() -> None:
    mine = {"PREFECT__FLOW_ENTRYPOINT": "mine.py:f"}
    assert start(IN_PLACE, mine).env == mine


@pytest.mark.parametrize("deployment", [PULLED, COPIED, IN_PLACE])
def test_uv_is_left_to_prefects_own_preparation(deployment: Deployment) -> None:
    started = start(deployment, AUTO)
    assert started == EngineStart(
        argv=("python", str(ENGINE_START), "--uv", *MODULE), env=AUTO, on_python_path=False
    )


@pytest.mark.parametrize(
    ("version", "has_uv", "why"),
    [("3.8.3", True, "older than 3.8.4"), ("3.9.1", False, "no command uv on PATH")],
)
def test_uv_that_cannot_be_used_is_said(version: str, has_uv: bool, why: str) -> None:
    started = start(env=AUTO, version=version, has_uv=has_uv)
    assert started.argv == ("python", *MODULE)
    [(level, text)] = started.remarks
    assert level == logging.WARNING
    assert why in text
    assert AUTO_INSTALL in text


@pytest.mark.parametrize("value", ["false", "0", "", "no"])
def test_uv_is_used_only_if_the_setting_is_on(value: str) -> None:
    assert start(env={AUTO_INSTALL: value}).argv == ("python", *MODULE)


def test_the_path_is_the_directory_then_what_was_added_then_the_old_one(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from engine_start import python_path; known = frozenset(sys.path);"
        "sys.path.append('lib'); print(python_path(known))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(ENGINE_START.parent)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"/old{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
    )
    paths = done.stdout.strip().split(os.pathsep)
    assert paths == [str(tmp_path), str(tmp_path / "lib"), "/old"]
