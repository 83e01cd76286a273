"""A working and a home directory of their own for tests of Prefect's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.prefect_api.settings.profile import PrefectProfile, load_profile
from tests.unit.prefect_api.profiles import Load


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    folder = tmp_path / "cwd"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".prefect").mkdir(parents=True)
    return folder


@pytest.fixture
def load(cwd: Path, home: Path) -> Load:
    def load(**environ: str) -> PrefectProfile:
        return load_profile(environ, cwd=cwd, home=home)

    return load
