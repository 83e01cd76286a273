"""How Prefect's engine is started for a run: by which program, and in which environment."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..domain.model import Deployment

AUTO_INSTALL: Final = "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES"
UV_SINCE: Final = (3, 8, 4)
"""The first Prefect with what prepares a project for uv and becomes its engine."""

ENGINE_START: Final = Path(__file__).with_name("engine_start.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStart:
    """What to start."""

    argv: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] = field(repr=False)
    on_python_path: bool
    """Whether the working directory is to be on PYTHONPATH from the start."""
    remarks: tuple[tuple[int, str], ...] = ()
    """Lines for the run's log, with their levels."""


def engine_start(
    argv: tuple[str, ...],
    env: Mapping[str, str],
    *,
    deployment: Deployment | None,
    working_dir: Path | None,
    prefect_version: str,
    has_uv: bool,
) -> EngineStart:
    """How to start the engine that ``argv`` names.

    ``has_uv``: whether there is a command uv on the run's PATH. A run without pull steps knows its
    working directory from the start. Where its code is there already, the engine is told the
    entrypoint, or it would say that it downloads flow code from None.
    """
    python, *module = argv
    remarks: list[tuple[int, str]] = []
    if deployment is not None and _is_true(env.get(AUTO_INSTALL)):
        if (numbers := _numbers(prefect_version)) and numbers < UV_SINCE:
            why = f"Prefect {prefect_version} of {python} is older than 3.8.4"
        elif not has_uv:
            why = "there is no command uv on PATH"
        else:
            by_uv = (python, str(ENGINE_START), "--uv", *module)
            return EngineStart(argv=by_uv, env=env, on_python_path=False)
        text = f"{AUTO_INSTALL} is set, but {why}: dependencies are not installed."
        remarks.append((logging.WARNING, text))
    if deployment is not None and deployment.has_pull_steps:
        argv = (python, str(ENGINE_START), *module)
        return EngineStart(argv=argv, env=env, on_python_path=False, remarks=tuple(remarks))
    entrypoint = None if deployment is None else deployment.local_entrypoint
    if entrypoint is not None:
        env = {"PREFECT__FLOW_ENTRYPOINT": entrypoint, **env}
        if working_dir is not None:
            text = f"Flow code is loaded from {str(working_dir)!r}."
            remarks.append((logging.INFO, text))
    return EngineStart(argv=argv, env=env, on_python_path=True, remarks=tuple(remarks))


def _is_true(text: str | None) -> bool:
    """As pydantic reads it."""
    return (text or "").strip().lower() in ("1", "true", "t", "yes", "y", "on")


def _numbers(version: str) -> tuple[int, ...]:
    """3, 8 and 4 of "3.8.4"; none of a version that is not known so exactly."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()
