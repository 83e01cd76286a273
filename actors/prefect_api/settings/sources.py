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


@dataclass(frozen=True, slots=True)
class Found:
    """All sources, the strongest first."""

    sources: tuple[Source, ...]
    profile: str | None
    """The active profile's name, None when there is none."""
    profiles_path: Path
    warnings: tuple[str, ...] = ()


def find_sources(environ: Mapping[str, str], *, cwd: Path, home: Path) -> Found:
    """Read every source. SettingsError: a file that Prefect would reject, too.

    ``home`` is the user's home directory. Where Prefect only warns (no such profile, a broken
    ``profiles.toml`` or line of ``.env``), the text is among the ``warnings``.
    """
    dotenv, warnings = _read_dotenv(cwd / ".env", environ)
    sources = [
        Source("the environment", _settings(environ)),
        Source(str(cwd / ".env"), _settings(dotenv)),
        Source(str(cwd / "prefect.toml"), _read_tables(cwd / "prefect.toml", ())),
        Source(
            f"[tool.prefect] of {cwd / 'pyproject.toml'}",
            _read_tables(cwd / "pyproject.toml", ("tool", "prefect")),
        ),
    ]
    path = _profiles_path(environ, sources, home)
    profile, more_warnings = _read_profile(path, environ.get("PREFECT_PROFILE"))
    if profile is not None:
        sources.append(profile[1])
    return Found(
        sources=tuple(source for source in sources if source.values),
        profile=None if profile is None else profile[0],
        profiles_path=path,
        warnings=(*warnings, *more_warnings),
    )


def _settings(variables: Mapping[str, str]) -> dict[str, str]:
    """The settings among ``variables``, in upper case; ``PREFECT__...`` are no settings."""
    return {
        upper: value
        for name, value in variables.items()
        if (upper := name.upper()).startswith(PREFIX)
        and not upper.startswith(f"{PREFIX}_")
        and upper != "PREFECT_PROFILE"
    }


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None


def _read_dotenv(path: Path, environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables of a ``.env`` file, and warnings.

    python-dotenv reads the file, as for Prefect. ``${NAME}`` is the value of an earlier line, or
    else of ``environ``. A name without ``=`` sets nothing.
    """
    found: dict[str, str | None] = {}
    known = ChainMap[str, str | None](found, dict(environ))
    wrong: list[int] = []
    for binding in parse_stream(io.StringIO(_read(path) or "")):
        if binding.error:
            wrong.append(binding.original.line)
        elif binding.key is not None:
            text = binding.value
            found[binding.key] = text and "".join(a.resolve(known) for a in parse_variables(text))
    numbers = ", ".join(map(str, wrong))
    return (
        {name: text for name, text in found.items() if text is not None},
        (f"{path} cannot be understood at line {numbers}.",) if wrong else (),
    )


def _read_tables(path: Path, header: tuple[str, ...]) -> dict[str, str]:
    text = _read(path)
    if text is None:
        return {}
    try:
        table: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no valid TOML: {error}") from None
    for key in header:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    return dict(_flattened("PREFECT", table)) if isinstance(table, dict) else {}


def _flattened(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """``[api] url = ...`` as ``PREFECT_API_URL``."""
    for key, value in table.items():
        name = f"{prefix}_{key.upper()}"
        if isinstance(value, dict) and name not in _DICTIONARIES:
            yield from _flattened(name, value)
        else:
            yield name, as_text(value)


def as_text(value: Any) -> str:
    """A TOML value as Prefect writes it into an environment variable."""
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)


def _profiles_path(environ: Mapping[str, str], sources: list[Source], home: Path) -> Path:
    prefect_home = _expanded(environ.get("PREFECT_HOME") or "~/.prefect", home)
    for source in sources:
        if chosen := source.values.get("PREFECT_PROFILES_PATH"):
            chosen = re.sub(r"\$\{?PREFECT_HOME\}?", lambda _: str(prefect_home), chosen)
            return _expanded(chosen, home)
    return prefect_home / "profiles.toml"


def _expanded(path: str, home: Path) -> Path:
    return home / path[2:] if path.startswith("~/") else Path(path)


def _read_profile(
    path: Path, chosen: str | None
) -> tuple[tuple[str, Source] | None, tuple[str, ...]]:
    """The active profile, and warnings."""
    text = _read(path)
    if text is None:
        if chosen:
            return None, (f"PREFECT_PROFILE names {chosen!r}, but there is no {path}.",)
        return None, ()
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, (f"{path} is no valid TOML and is not used: {error}",)
    name = chosen or data.get("active")
    if not name:
        return None, ()
    profiles = data.get("profiles")
    profile = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(profile, dict):
        where = "PREFECT_PROFILE" if chosen else f"'active' in {path}"
        return None, (f"{where} names {name!r}, but {path} has no such profile.",)
    values = _settings({key: as_text(value) for key, value in profile.items()})
    return (str(name), Source(f"profile {name!r} in {path}", values)), ()
