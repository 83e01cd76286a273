"""Error messages for wrong settings: the source, the value, and what it should be."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..domain.errors import SettingsError
from ..prefect_api.settings.profile import load_profile
from .sources import (
    ENV_PREFIX,
    TEST_PREFIX,
    given_variable,
    line_in_file,
    prefect_place,
    read_file,
    variable_of,
)

NO_POOL: Final = (
    "No work pool is named: give --pool NAME (-p NAME), set ACTOR_WORKER_POOL, or write"
    ' pool = "NAME" into the file of --config.'
)

_WORDS: Final[Mapping[str, Callable[[ErrorDetails], str]]] = {
    "int_parsing": lambda fault: f"{fault['input']!r} is not a whole number",
    "int_from_float": lambda fault: f"{fault['input']!r} is not a whole number",
    "int_type": lambda fault: f"{fault['input']!r} is not a whole number",
    "float_parsing": lambda fault: f"{fault['input']!r} is not a number",
    "float_type": lambda fault: f"{fault['input']!r} is not a number",
    "finite_number": lambda fault: f"{fault['input']!r} is not a finite number",
    "greater_than": lambda fault: f"{fault['input']} is not greater than {fault['ctx']['gt']:g}",
    "greater_than_equal": lambda fault: f"{fault['input']} is less than {fault['ctx']['ge']:g}",
    "less_than_equal": lambda fault: f"{fault['input']} is more than {fault['ctx']['le']:g}",
    "bool_parsing": lambda fault: f"{fault['input']!r} is neither true nor false",
    "bool_type": lambda fault: f"{fault['input']!r} is neither true nor false",
    "literal_error": lambda fault: f"{fault['input']!r} is not {fault['ctx']['expected']}",
    "enum": lambda fault: f"{fault['input']!r} is not {fault['ctx']['expected']}",
    "string_type": lambda fault: f"{fault['input']!r} is not a text",
    "string_too_short": lambda _: "it is empty",
    "value_error": lambda fault: str(fault["ctx"]["error"]),
}


def explain(
    error: ValidationError,
    fields: Collection[str],
    given: Mapping[str, Any],
    argument: Callable[[str], str],
) -> SettingsError:
    """``error`` in words, one sentence for each wrong setting.

    ``given`` are the caller's own values; ``argument`` returns how the caller gave one.
    """
    config = given.get("config") or os.environ.get(variable_of("config"))
    file = None if config is None else Path(config)
    return SettingsError("\n".join(_sentences(error, fields, given, argument, file)))


def _sentences(
    error: ValidationError,
    fields: Collection[str],
    given: Mapping[str, Any],
    argument: Callable[[str], str],
    file: Path | None,
) -> Iterator[str]:
    said: set[str] = set()
    for fault in error.errors(include_url=False):
        field = str(fault["loc"][0]) if fault["loc"] else ""
        if field in said:
            continue
        said.add(field)
        if fault["type"] == "missing" and field == "pool":
            yield NO_POOL
            continue
        source = _source(field, given, argument, file)
        if fault["type"] == "extra_forbidden":
            yield f"{source}: there is no such setting.{closest(field, fields)}"
        else:
            words = _WORDS.get(fault["type"])
            yield f"{source}: {fault['msg'] if words is None else words(fault)}."


def _source(
    field: str, given: Mapping[str, Any], argument: Callable[[str], str], file: Path | None
) -> str:
    """Where the value of ``field`` came from: the strongest source that has one."""
    if field in given:
        return argument(field)
    if (variable := given_variable(field)) is not None:
        return f"{variable} (environment)"
    if file is not None and field in read_file(file):
        line = line_in_file(file, field)
        return f"{field} ({file}{'' if line is None else f', line {line}'})"
    return prefect_place(field, given.get("prefect") or load_profile()) or field


def closest(name: str, names: Collection[str]) -> str:
    """A sentence that suggests the most similar name, or nothing."""
    found = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    return f" Did you mean {found[0]}?" if found else ""


def unknown_variables(
    fields: Collection[str], environ: Mapping[str, str] = os.environ
) -> list[str]:
    """A sentence for each ``ACTOR_WORKER_*`` variable that sets nothing.

    They are no errors: they may be meant for another version of the worker.
    """
    known = {variable_of(field) for field in fields}
    return [
        f"{name} (environment): there is no such setting.{closest(name.upper(), known)}"
        for name in sorted(environ)
        if name.upper().startswith(ENV_PREFIX)
        and not name.startswith(TEST_PREFIX)
        and name.upper() not in known
    ]
