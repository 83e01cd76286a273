"""The sources of Prefect's settings, in Prefect's order of precedence.

Those of Prefect 3.8 (``prefect/settings/sources.py``): the environment, ``.env``,
``prefect.toml`` and ``[tool.prefect]`` of ``pyproject.toml`` in the working directory, and the
active profile of ``profiles.toml``. Prefect 3.0 reads the first and the last of these.
"""

from __future__ import annotations

import io
import json
import re
import tomllib
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dotenv.parser import parse_stream
from dotenv.variables import parse_variables

from ...domain.errors import SettingsError

PREFIX: Final = "PREFECT_"

_DICTIONARIES: Final = frozenset({"PREFECT_CLIENT_CUSTOM_HEADERS"})
"""Settings whose value is a table itself; other tables hold further settings."""


@dataclass(frozen=True, slots=True)
class Source:
    """Settings by their ``PREFECT_*`` names; ``where`` is their source in messages."""

    where: str
    values: Mapping[str, str]


def read_sources(
    environ: Mapping[str, str], *, cwd: Path, home: Path
) -> tuple[list[Source], list[str]]:
    """Every source, the weakest first, and warnings. SettingsError: a file cannot be used.

    ``home`` is the user's home directory. What Prefect only warns of (no such profile, a broken
    ``profiles.toml`` or line of ``.env``) is a warning here, too.
    """
    warnings: list[str] = []
    sources = [
        Source(
            f"[tool.prefect] of {cwd / 'pyproject.toml'}",
            _read_tables(cwd / "pyproject.toml", "tool", "prefect"),
        ),
        Source(str(cwd / "prefect.toml"), _read_tables(cwd / "prefect.toml")),
        Source(str(cwd / ".env"), _settings(_read_dotenv(cwd / ".env", environ, warnings))),
        Source("the environment", _settings(environ)),
    ]
    path = _profiles_path(environ, sources, home)
    return [*_active_profile(path, environ.get("PREFECT_PROFILE"), warnings), *sources], warnings


def _settings(variables: Mapping[str, str]) -> dict[str, str]:
    """The settings among ``variables``, in upper case; ``PREFECT__...`` are no settings."""
    return {
        upper: value
        for name, value in variables.items()
        if (upper := name.upper()).startswith(PREFIX)
        and not upper.startswith(f"{PREFIX}_")
        and upper != "PREFECT_PROFILE"
    }


def _read(path: Path) -> str:
    """The text of a file, empty if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None


def _read_dotenv(path: Path, environ: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """The variables of a ``.env`` file.

    python-dotenv reads the file, as for Prefect. ``${NAME}`` is the value of an earlier line, or
    else of ``environ``. A name without ``=`` sets nothing.
    """
    found: dict[str, str | None] = {}
    known = ChainMap[str, str | None](found, dict(environ))
    for binding in parse_stream(io.StringIO(_read(path))):
        if binding.error:
            warnings.append(f"{path} cannot be understood at line {binding.original.line}.")
        elif binding.key is not None:
            text = binding.value
            found[binding.key] = text and "".join(a.resolve(known) for a in parse_variables(text))
    return {name: text for name, text in found.items() if text is not None}


def _read_tables(path: Path, *header: str) -> dict[str, str]:
    try:
        table: Any = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no valid TOML: {error}") from None
    for key in header:
        table = table.get(key) if isinstance(table, dict) else None
    return dict(_flattened("PREFECT", table)) if isinstance(table, dict) else {}


def _flattened(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """``[api] url = ...`` as ``PREFECT_API_URL``."""
    for key, value in table.items():
        name = f"{prefix}_{key.upper()}"
        if isinstance(value, dict) and name not in _DICTIONARIES:
            yield from _flattened(name, value)
        else:
            yield name, _as_text(value)


def _as_text(value: Any) -> str:
    """A TOML value as Prefect writes it into an environment variable."""
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _profiles_path(environ: Mapping[str, str], sources: list[Source], home: Path) -> Path:
    prefect_home = _expanded(environ.get("PREFECT_HOME") or "~/.prefect", home)
    for source in reversed(sources):
        if chosen := source.values.get("PREFECT_PROFILES_PATH"):
            chosen = re.sub(r"\$\{?PREFECT_HOME\}?", lambda _: str(prefect_home), chosen)
            return _expanded(chosen, home)
    return prefect_home / "profiles.toml"


def _expanded(path: str, home: Path) -> Path:
    return home / path[2:] if path.startswith("~/") else Path(path)


def _active_profile(path: Path, chosen: str | None, warnings: list[str]) -> Iterator[Source]:
    try:
        data = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        warnings.append(f"{path} is no valid TOML and is not used: {error}")
        return
    name = chosen or data.get("active")
    profiles = data.get("profiles")
    profile = profiles.get(name) if isinstance(profiles, dict) else None
    if isinstance(profile, dict):
        values = _settings({key: _as_text(value) for key, value in profile.items()})
        yield Source(f"profile {name!r} in {path}", values)
    elif name:
        where = "PREFECT_PROFILE" if chosen else "'active'"
        warnings.append(f"{where} names {name!r}, but {path} has no such profile.")
