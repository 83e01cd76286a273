"""What a flow starts can import what the flow can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.prefect.kit import Place

PROGRAM = """
import os, subprocess, sys
from prefect import flow

@flow
def starts_a_child(name: str):
    code = "import helper; print(helper.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    with open(os.path.join(os.environ["NOTES"], name), "w") as notes:
        notes.write(done.stdout or done.stderr)
"""
STEPS = """
import sys

def add_to_path(folder):
    sys.path.append(folder)
    return {}
"""

EVERY_SERIES = pytest.mark.series()
WAYS = ("working directory", "copied", "pulled", "added")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a flow and a module, one with the flow alone, and one with a pull step."""
    for name in ("whole", "bare", "lib", "steps"):
        (tmp_path / name).mkdir()
    for name in ("whole", "bare"):
        (tmp_path / name / "flows.py").write_text(PROGRAM)
    for name in ("whole", "lib"):
        (tmp_path / name / "helper.py").touch()
    (tmp_path / "steps" / "some_steps.py").write_text(STEPS)
    return tmp_path


def deployment(way: str, project: Path) -> dict[str, Any]:
    whole, bare = str(project / "whole"), str(project / "bare")
    set_directory = "prefect.deployments.steps.set_working_directory"
    match way:
        case "working directory":
            return {"job_variables": {"working_dir": whole}}
        case "copied":
            return {"path": whole}
        case "pulled":
            return {"pull_steps": [{set_directory: {"directory": whole}}]}
        case _:
            add = {"some_steps.add_to_path": {"folder": str(project / "lib")}}
            env = {"PYTHONPATH": str(project / "steps")}
            return {
                "pull_steps": [add, {set_directory: {"directory": bare}}],
                "job_variables": {"env": env},
            }


@EVERY_SERIES
def test_what_a_flow_starts_finds_the_modules_of_its_project(place: Place, project: Path) -> None:
    runs = {}
    for way in WAYS:
        fields = deployment(way, project)
        variables = fields.pop("job_variables", {})
        variables["env"] = {"NOTES": str(project)} | variables.get("env", {})
        fields |= {
            "job_variables": variables,
            "entrypoint": "flows.py:starts_a_child",
            "flow_id": place.admin.create_flow("starts-a-child"),
            "parameters": {"name": way},
        }
        runs[way] = place.admin.create_run(place.deploy(**fields))
    with place.worker():
        states = {way: place.state_once(run)["type"] for way, run in runs.items()}
    assert states == dict.fromkeys(WAYS, "COMPLETED")
    found = {way: (project / way).read_text().strip() for way in WAYS}
    assert found["working directory"] == found["pulled"] == str(project / "whole" / "helper.py")
    assert found["added"] == str(project / "lib" / "helper.py")
    assert found["copied"].endswith("/helper.py")
    said = place.run_log(runs["working directory"])
    assert not [line for line in said if "None" in line]
    assert f"Flow code is loaded from {str(project / 'whole')!r}." in said
