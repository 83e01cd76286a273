"""From a run's job to the order that runs its flow's hooks in the same surroundings."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..domain.ids import ClaimKey
from ..domain.process import SpawnOrder
from ..domain.record import Hooks
from .engine import ENGINE_START
from .job import ENGINE, ENGINE_MODULE

PROGRAM: Final = Path(__file__).with_name("hook_program.py").read_text(encoding="utf-8")
"""Passed as text: the run's interpreter may belong to another user, or to a container."""


def hooks_order(order: SpawnOrder, key: ClaimKey, folder: Path, hooks: Hooks) -> SpawnOrder:
    """The order for the hooks of the run that ``order`` was for: Python, directory, environment.

    A run without a directory of its own gets a fresh one, and its flow's code is fetched again.
    """
    program = ("-c", PROGRAM, hooks.kind.value, hooks.state_id or "")
    return replace(
        order,
        key=key,
        folder=folder,
        argv=instead_of_engine(_without_start(order.argv), program),
        control_channel=False,
    )


def _without_start(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command without our program that prepares an engine."""
    at = argv.index(str(ENGINE_START)) if str(ENGINE_START) in argv else len(argv)
    rest = argv[at + 1 :]
    return (*argv[:at], *(rest[1:] if rest[:1] == ("--uv",) else rest))


def instead_of_engine(argv: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    """A command with ``words`` where it has ``-m prefect.engine``, also in a shell's text."""
    for at, word in enumerate(argv):
        if word == "-m" and argv[at + 1 : at + 2] == (ENGINE_MODULE,):
            return (*argv[:at], *words, *argv[at + 2 :])
        if word == f"-m{ENGINE_MODULE}":
            return (*argv[:at], *words, *argv[at + 1 :])
    return tuple(ENGINE.sub(lambda _: shlex.join(words), word) for word in argv)
