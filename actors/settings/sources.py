"""Where settings come from beside the command line, and the words to name each place."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from ..domain.errors import SettingsError
from ..prefect_api.settings.profile import PrefectProfile, load_profile

ENV_PREFIX: Final = "ACTOR_WORKER_"

CONFIG_VARIABLE: Final = "ACTOR_WORKER_CONFIG"

TEST_PREFIX: Final = "ACTOR_WORKER_TEST_"
"""Variables of the project's own tests; no settings."""


PREFECT_SETTINGS: Final[Mapping[str, str]] = {
    "query_seconds": "worker_query_seconds",
    "prefetch_seconds": "worker_prefetch_seconds",
    "heartbeat_seconds": "worker_heartbeat_seconds",
    "health_host": "worker_webserver_host",
    "health_port": "worker_webserver_port",
    "log_level": "logging_level",
}
"""Our settings that Prefect has too: its fields in PrefectProfile."""


def variable_of(field: str) -> str:
    """The environment variable that sets ``field``."""
    return ENV_PREFIX + field.upper()


def given_variable(field: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The name of the variable that sets ``field``, as it is written; None when none does."""
    wanted = variable_of(field)
    return next((name for name in environ if name.upper() == wanted and environ[name]), None)


class FileSource(PydanticBaseSettingsSource):
    """The TOML file that a stronger source names as ``config``; without one, nothing."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One field's value from the file."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """What the file says. SettingsError: it cannot be read."""
        path = self.current_state.get("config")
        return {} if path is None else read_file(Path(path))


class PrefectSource(PydanticBaseSettingsSource):
    """Prefect's own settings: those given as ``prefect``, else what this process would use."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One field's value from Prefect's settings."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The profile, and those of our settings that it names. SettingsError: a wrong one."""
        profile = self.current_state.get("prefect")
        if not isinstance(profile, PrefectProfile):
            profile = load_profile()
        found = {ours: getattr(profile, theirs) for ours, theirs in PREFECT_SETTINGS.items()}
        if profile.worker_debug_mode:
            found["log_level"] = "DEBUG"
        return {"prefect": profile, **found}


def prefect_place(field: str, profile: PrefectProfile) -> str | None:
    """Which of Prefect's settings gives ``field``, and where that is set; None when none does."""
    if field not in PREFECT_SETTINGS:
        return None
    variable = f"PREFECT_{PREFECT_SETTINGS[field].upper()}"
    return f"{variable} ({profile.source_of(variable)})"


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
    """The number of the line that sets ``key`` in the TOML file; None when it is hidden well."""
    setting = re.compile(rf"\s*\[?\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if setting.match(line)), None)
