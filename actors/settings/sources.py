"""Where settings come from beside the command line, and how messages name each place."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..domain.errors import SettingsError
from ..prefect_api.settings.profile import PrefectProfile, load_profile
from .worker_settings import all_settings

ENV_PREFIX: Final = "ACTOR_WORKER_"

TEST_PREFIX: Final = "ACTOR_WORKER_TEST_"
"""Variables of the project's own tests; no settings."""


def variable_of(field: str) -> str:
    """The environment variable that sets ``field``."""
    return ENV_PREFIX + field.upper()


def given_variable(field: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The name of the variable that sets ``field``, as it is written; None when none does."""
    wanted = variable_of(field)
    return next((name for name in environ if name.upper() == wanted and environ[name]), None)


def from_prefect(given: object) -> dict[str, Any]:
    """The weakest source: Prefect's own settings, and those of ours that follow from them.

    ``given`` is the caller's PrefectProfile; anything else means what this process would use.
    SettingsError: one of Prefect's settings is wrong.
    """
    profile = given if isinstance(given, PrefectProfile) else load_profile()
    found: dict[str, Any] = {
        setting.field: getattr(profile, setting.option.prefect)
        for setting in all_settings()
        if setting.option.prefect
    }
    if profile.worker_debug_mode:
        found["log_level"] = "DEBUG"
    return {"prefect": profile, **found}


def prefect_place(field: str, profile: PrefectProfile) -> str | None:
    """Which of Prefect's settings gives ``field``, and where that is set; None when none does."""
    for setting in all_settings():
        if setting.field == field and setting.option.prefect:
            variable = setting.prefect_variable
            return f"{variable} ({profile.source_of(variable)})"
    return None


def read_file(path: Path) -> dict[str, Any]:
    """The settings in the TOML file ``path``. SettingsError: it cannot be read."""
    try:
        return tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"The settings file {path} cannot be read: {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not TOML: {error}.") from error


def line_in_file(path: Path, key: str) -> int | None:
    """The number of the line that sets ``key`` in the TOML file; None when it is not found."""
    setting = re.compile(rf"\s*\[?\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if setting.match(line)), None)
