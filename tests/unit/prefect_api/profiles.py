"""Prefect's settings files for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from actors.prefect_api.settings.profile import PrefectProfile

URL = "http://127.0.0.1:4200/api"

Load = Callable[..., PrefectProfile]
"""Loads the profile with these environment variables and nothing else."""


def write_profiles(home: Path, text: str) -> Path:
    path = home / ".prefect" / "profiles.toml"
    path.write_text(text)
    return path
