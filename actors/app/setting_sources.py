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

ENV_PREFIX: Final = "ACTOR_WORKER_"

CONFIG_VARIABLE: Final = "ACTOR_WORKER_CONFIG"

TEST_PREFIX: Final = "ACTOR_WORKER_TEST_"
"""Variables of the project's own tests; no settings."""


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
