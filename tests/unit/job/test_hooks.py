"""The command that runs hooks in the place of an engine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from actors.domain.ids import ClaimKey, hooks_key
from actors.domain.process import SpawnOrder
from actors.domain.record import Hooks, HooksKind, HooksStage
from actors.job.engine import ENGINE_START
from actors.job.hooks import PROGRAM, hooks_order, instead_of_engine

WORDS = ("-c", "print('it''s a \"hook\"')", "crashed", "")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m prefect.engine", ("python", *WORDS)),
        ("python -I -mprefect.engine", ("python", "-I", *WORDS)),
        ("uv run python -m prefect.engine", ("uv", "run", "python", *WORDS)),
        ("nice python -m prefect.engine --verbose", ("nice", "python", *WORDS, "--verbose")),
    ],
)
def test_the_program_takes_the_place_of_the_engine(
    command: str, expected: tuple[str, ...]
) -> None:
    assert instead_of_engine(tuple(shlex.split(command)), WORDS) == expected


def test_within_the_text_of_a_shell_it_is_quoted() -> None:
    argv = ("sh", "-c", "cd /srv && exec python -m prefect.engine")
    *shell, script = instead_of_engine(argv, WORDS)
    assert shell == ["sh", "-c"]
    assert shlex.split(script)[-5:] == ["python", *WORDS]


def test_the_program_is_python() -> None:
    assert compile(PROGRAM, "hooks", "exec").co_names


@pytest.mark.parametrize("uv", [(), ("--uv",)])
def test_what_prepares_an_engine_is_left_out(uv: tuple[str, ...]) -> None:
    argv = ("python", str(ENGINE_START), *uv, "-m", "prefect.engine")
    order = SpawnOrder(key=ClaimKey("run.1"), folder=Path("/run"), argv=argv, env={})
    hooks = Hooks(kind=HooksKind.CRASHED, stage=HooksStage.DUE, state_id="crash")
    made = hooks_order(order, hooks_key(order.key), Path("/hooks"), hooks)
    assert made.argv == ("python", "-c", PROGRAM, "crashed", "crash")
    assert (made.key, made.folder) == ("run.1.hooks", Path("/hooks"))
