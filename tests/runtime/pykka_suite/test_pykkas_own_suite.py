"""pykka's own tests, from the source release of the version installed, over AsyncioActor."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

import actors

pytestmark = pytest.mark.slow

DEVIATIONS = {
    # a BaseException ends that actor alone: the host program's other actors are not ours to stop
    "tests/test_logging.py::test_base_exception_is_logged",
    # a message that an actor does not know is an error, where pykka only logs a warning
    "tests/test_logging.py::test_unexpected_messages_are_logged",
}

OF_THREADS = "tests/test_threading_actor.py"
"""Tests of pykka's own kind of actor."""


def test_pykkas_own_suite_passes_over_asyncio_actors(tmp_path: Path) -> None:
    suite = downloaded(f"pykka=={version('pykka')}", tmp_path)
    with (suite / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write("\nfrom asyncio_runtime import runtime\n")  # in place of pykka's fixture
    path = [str(Path(__file__).parent), str(Path(actors.__file__).parents[1])]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests", "-p", "no:randomly"),
            *(f"--deselect={name}" for name in sorted(DEVIATIONS)),
            f"--ignore={OF_THREADS}",
        ],
        cwd=suite,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(suite), *path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert f", {len(DEVIATIONS)} deselected" in done.stdout


def downloaded(requirement: str, folder: Path) -> Path:
    """The unpacked source release; pip says why where it reaches no index."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", "pykka", "--dest", str(folder), requirement),
        ],
        check=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as release:
        release.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")
