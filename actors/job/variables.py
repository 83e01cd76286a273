"""How job variables of pool, deployment and flow run are merged.

Prefect's rules differ between versions; these are those of 3.5 (``env``) and 3.7 (dotted names).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

from ..domain.errors import InvalidJob
from ..domain.model import Json
from .placeholders import split_path


def merge_variables(deployment: Mapping[str, Json], run: Mapping[str, Json]) -> dict[str, Json]:
    """The run's variables over the deployment's; two ``env`` mappings are merged."""
    merged = {**deployment, **run}
    base, over = deployment.get("env"), run.get("env")
    if isinstance(base, Mapping) and (over is None or isinstance(over, Mapping)):
        merged["env"] = {**base, **(over or {})}
    return merged


def expand_dotted(variables: Mapping[str, Json]) -> dict[str, Json]:
    """Variables called ``env.NAME`` as entries of ``env``; a nested entry wins over them.

    Raises InvalidJob where one path runs through the value of another.
    """
    expanded: dict[str, Json] = {}
    for key, value in variables.items():
        if "." in key:
            _set_at_path(expanded, key, deepcopy(value))
    return _merge_deep(expanded, {key: v for key, v in variables.items() if "." not in key})


def default_values(properties: Mapping[str, Json]) -> dict[str, Json]:
    """The defaults of the pool's variables; null means that there is none."""
    return {
        name: schema["default"]
        for name, schema in properties.items()
        if isinstance(schema, Mapping) and schema.get("default") is not None
    }


def merge_env(template: Json, default: Json, job: Json) -> dict[str, Json] | None:
    """``env`` of the template, then the pool's default, then the job; later ones win.

    None: nothing to merge, and the template's value, usually a placeholder, stays.
    """
    fixed = isinstance(template, Mapping)
    if not fixed and not default:
        return None
    layers = (template if fixed else {}, default or {}, job or {})
    if not all(isinstance(layer, Mapping) for layer in layers):
        raise InvalidJob(
            "Job variable 'env' must be an object of names and values, because the work pool "
            "merges it with its own."
        )
    return {name: value for layer in layers for name, value in layer.items()}


def _set_at_path(tree: dict[str, Json], path: str, value: Json) -> None:
    *parents, last = split_path(path)
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise InvalidJob(
                f"Job variable {path!r} contradicts another one that gives {part!r} a value."
            )
    tree[last] = value


def _merge_deep(base: Mapping[str, Json], over: Mapping[str, Json]) -> dict[str, Json]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _merge_deep(merged[key], value) if both else value
    return merged
