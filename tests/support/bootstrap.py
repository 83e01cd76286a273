"""Makes everything the tests need and runs them: ``python3 -m tests``, from a fresh clone.

Standard library only: it runs on a machine that has nothing but Python. An environment is made
once, and again only when what belongs in it has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from tests.support.prefect_server import VERSIONS

ROOT: Final = Path(__file__).resolve().parents[2]
PINS: Final = ROOT / "tests" / "support" / "pins"

ENVIRONMENT: Final = ROOT / ".venv"
EXTRAS: Final = "local,test,dev"

NEWEST, *OLD_SERIES = VERSIONS
"""The newest Prefect is installed beside the project itself, each older one in an environment."""

ALL_SEEDS: Final = 2_000
"""Of the simulation; without ``--all`` its test plays as many as it has by default."""

LEFT_OUT: Final = (
    "Left out: Prefect {old} (their tests are skipped); tests marked slow: storms of faults,"
    " crowds of runs, an outage of minutes, the fresh clone, pykka's own tests; most seeds of the"
    " simulation."
    " python3 -m tests --all runs it."
)

SIDE_BY_SIDE: Final = ("-n", str((os.cpu_count() or 1) + 1))
"""Most of the time tests wait for processes and servers: several at once take a third of it."""

SEEDS_VARIABLE: Final = "ACTOR_WORKER_TEST_SEEDS"
"""How many seeds the test of the simulation plays."""

QUIETLY: Final = ("--quiet", "--quiet")
"""pip prints its errors, and none of the warnings that an index of several parts brings."""

OLDEST_PYTHON: Final = (3, 11)


def main(arguments: Sequence[str]) -> int:
    """Make the environments, then run pytest in the first; its exit code."""
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        print(f"Python {wanted} or newer is needed, this is {sys.version.split()[0]}.")
        return 2
    asked, for_pytest = _parser().parse_known_args(arguments)
    series = OLD_SERIES if asked.all else _old_series(asked.prefect)
    try:
        python = environment()
        old = {name: prefect_environment(name) for name in series}
    except subprocess.CalledProcessError as error:
        print(f"This failed with exit code {error.returncode}: {' '.join(map(str, error.cmd))}")
        if "ensurepip" in error.cmd:
            print("Python's own installer is missing. On Debian: apt install python3-venv")
        return 1
    if asked.only_install:
        return 0
    variables = {variable_of(NEWEST): str(python)} | {
        variable_of(name): str(interpreter) for name, interpreter in old.items()
    }
    if asked.all:
        variables[SEEDS_VARIABLE] = str(ALL_SEEDS)
    chosen = for_pytest or [*SIDE_BY_SIDE, *([] if asked.all else ["-m", "not slow"])]
    command = [str(python), "-m", "pytest", *chosen]
    code = subprocess.run(command, cwd=ROOT, env=os.environ | variables).returncode
    if not asked.all and not for_pytest:
        print(
            LEFT_OUT.format(old=", ".join(VERSIONS[name] for name in OLD_SERIES)), file=sys.stderr
        )
    return code


def environment() -> Path:
    """The interpreter of the project's own environment: the checkout and the newest Prefect."""
    return _made(
        ENVIRONMENT,
        ["--editable", f"{ROOT}[{EXTRAS}]"],
        depends_on=[ROOT / "setup.cfg", ROOT / "setup.py"],
    )


def prefect_environment(series: str) -> Path:
    """The interpreter of an environment that has nothing but this older Prefect."""
    pins = PINS / f"prefect-{VERSIONS[series]}.txt"
    folder = ROOT / f".venv-prefect-{series}"
    return _made(folder, ["--requirement", str(pins)], depends_on=[pins])


def variable_of(series: str) -> str:
    """The variable by which tests find the interpreter that has a Prefect of this series."""
    return f"ACTOR_WORKER_TEST_PREFECT_{series.replace('.', '_')}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests",
        description="Make what the tests need and run them. Everything else is given to pytest.",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="every test, against every Prefect, with every seed of the simulation",
    )
    parser.add_argument(
        "--prefect",
        action="append",
        choices=[NEWEST, *OLD_SERIES],
        help=f"run against Prefects of this series, too; may be repeated; {NEWEST} always is",
    )
    parser.add_argument(
        "--only-install", action="store_true", help="make the environments and run nothing"
    )
    return parser


def _old_series(asked: Collection[str] | None) -> list[str]:
    return [series for series in OLD_SERIES if series in (asked or ())]


def _made(folder: Path, install: list[str], *, depends_on: list[Path]) -> Path:
    """The interpreter of the virtual environment ``folder``, with what ``install`` asks pip for.

    A stamp in it says from what it was made; where that is still the same, nothing is done.
    """
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    made_from = _fingerprint(install, depends_on)
    if python.exists() and stamp.exists() and stamp.read_text() == made_from:
        return python
    print(f"Making {folder} (a minute or two, once) ...", flush=True)
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", *QUIETLY, *install], cwd=ROOT, check=True)
    stamp.write_text(made_from)
    return python


def _fingerprint(install: list[str], depends_on: list[Path]) -> str:
    digest = hashlib.sha256(repr((sys.version, install)).encode())
    for path in depends_on:
        digest.update(path.read_bytes())
    return digest.hexdigest()
