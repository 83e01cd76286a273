"""Reading the file that ``--base-job-template`` names, before anything is started with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..domain.masking import texts_in
from ..domain.model import Json
from ..job.placeholders import BLOCK_PREFIX, ENVIRONMENT_PREFIX, PLACEHOLDER, VARIABLE_PREFIX

_ELSEWHERE = (BLOCK_PREFIX, VARIABLE_PREFIX, ENVIRONMENT_PREFIX, "ctx.")
"""Placeholders that are not filled from the template's own variables."""


def read_base_job_template(given: Any) -> Json:
    """A base job template from the path of a JSON file, or the checked template itself.

    ValueError: the file cannot be read, or the server would not take what is in it.
    """
    if given is None:
        return None
    if not isinstance(given, str | Path):
        return _checked(given, "the template")
    path = Path(given).expanduser()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # no UTF-8, no JSON
        raise ValueError(f"the file {path} is not JSON: {error}") from error
    return _checked(content, f"the file {path}")


def _checked(template: Any, what: str) -> Json:
    if not isinstance(template, Mapping):
        raise ValueError(f"{what} holds no JSON object")
    for part in ("job_configuration", "variables"):
        if not isinstance(template.get(part), Mapping):
            raise ValueError(f"{what} has no object {part!r}")
    properties = template["variables"].get("properties", {})
    if not isinstance(properties, Mapping):
        raise ValueError(f"{what}: 'properties' of 'variables' is not an object")
    used = {
        name
        for text in texts_in(template["job_configuration"])
        for name in PLACEHOLDER.findall(text)
    }
    unknown = sorted(
        name
        for name in used
        if name.split(".")[0].split("[")[0] not in properties and not name.startswith(_ELSEWHERE)
    )
    if unknown:
        raise ValueError(
            f"{what} uses {', '.join('{{ ' + name + ' }}' for name in unknown)}, which"
            " 'variables' does not declare"
        )
    return dict(template)
