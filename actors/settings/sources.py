"""Where settings come from beside the command line, and how messages name each place."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ..domain.errors import SettingsError
from ..prefect_api.settings.profile import PrefectProfile, load_profile
from .worker_settings import all_settings

ENV_PREFIX: Final = "ACTOR_WORKER_"

TEST_PREFIX: Final = "ACTOR_WORKER_TEST_"
"""Variables of the project's own tests; no settings."""

NO_POOL: Final = (
    "No work pool is named: give --pool NAME (-p NAME), set ACTOR_WORKER_POOL, or write"
    ' pool = "NAME" into the file of --config.'
)


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


def explain(
    error: ValidationError,
    fields: Collection[str],
    given: Mapping[str, Any],
    argument: Callable[[str], str],
) -> SettingsError:
    """``error`` in words, one sentence for each wrong setting.

    ``given`` are the caller's own values; ``argument`` returns how the caller gave one.
    """
    sentences: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        field = str(fault["loc"][0])
        source = _source(field, given, argument)
        match fault["type"]:
            case "missing" if field == "pool":
                sentence = NO_POOL
            case "extra_forbidden":
                sentence = f"{source}: there is no such setting.{_closest(field, fields)}"
            case "value_error":
                sentence = f"{source}: {fault['ctx']['error']}."
            case _:
                sentence = f"{source}: {fault['input']!r} is wrong: {fault['msg']}."
        sentences.setdefault(field, sentence)
    return SettingsError("\n".join(sentences.values()))


def _source(field: str, given: Mapping[str, Any], argument: Callable[[str], str]) -> str:
    """Where the value of ``field`` came from: the strongest source that has one."""
    if field in given:
        return argument(field)
    variables = {name.upper(): name for name, text in os.environ.items() if text}
    if variable := variables.get(ENV_PREFIX + field.upper()):
        return f"{variable} (environment)"
    config = given.get("config") or os.environ.get(f"{ENV_PREFIX}CONFIG")
    if config and field in read_file(Path(config)):
        return f"{field} ({config})"
    profile = given.get("prefect") or load_profile()
    for setting in all_settings():
        if setting.field == field and setting.option.prefect:
            return f"{setting.prefect_variable} ({profile.source_of(setting.prefect_variable)})"
    return field


def unknown_variables(
    fields: Collection[str], environ: Mapping[str, str] = os.environ
) -> list[str]:
    """A sentence for each ``ACTOR_WORKER_*`` variable that sets nothing.

    They are no errors: they may be meant for another version of the worker.
    """
    known = {ENV_PREFIX + field.upper() for field in fields}
    return [
        f"{name} (environment): there is no such setting.{_closest(name.upper(), known)}"
        for name in sorted(environ)
        if name.upper().startswith(ENV_PREFIX)
        and not name.startswith(TEST_PREFIX)
        and name.upper() not in known
    ]


def _closest(name: str, names: Collection[str]) -> str:
    """A sentence that suggests the most similar name, or nothing."""
    found = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    return f" Did you mean {found[0]}?" if found else ""
