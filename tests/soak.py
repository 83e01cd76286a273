"""``python -m tests.soak``: what takes too long for every change; before a release, over night.

Each part is a command of its own, which is told when it fails, so that it can be run again.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from tests.support.bootstrap import NEWEST, OLD_SERIES, ROOT, prefect_environment, variable_of

PYTEST: Final = ("-m", "pytest", "-p", "no:randomly")
ENDING_SECONDS: Final = 60.0
FAR: Final = 10**9
"""Simulations begin with a seed below this: each soak looks at others."""


@dataclass(frozen=True)
class Part:
    """Something that runs for long: arguments of Python, and at most so many seconds."""

    name: str
    arguments: Sequence[str]
    seconds: float
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What to type to do it again."""
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        return shlex.join([*variables, "python", *self.arguments])

    def run(self) -> str | None:
        """Why it failed; None when all is well. What it started is ended with it."""
        process = subprocess.Popen(
            [sys.executable, *self.arguments],
            cwd=ROOT,
            env=os.environ | dict(self.variables),
            start_new_session=True,
        )
        try:
            code = process.wait(self.seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # tests end their servers then
            with suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_SECONDS)
            return f"not done after {self.seconds:.0f} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return None if code == 0 else f"exit code {code}"


def parts(*, minutes: float, runs: int, kill_seconds: float, first: int) -> list[Part]:
    """All there is, in order."""
    simulation = ("-m", "tests.simulation")
    return [
        Part(
            "simulation",
            (*simulation, "--first", str(first), "--minutes", str(minutes)),
            seconds=minutes * 60 + 300,
        ),
        Part("mutations", (*simulation, "--mutations"), seconds=3600),
        Part(
            "leaks",
            (*PYTEST, "tests/integration/load/test_leaks.py"),
            seconds=600 + runs,
            variables={"ACTOR_WORKER_TEST_RUNS": str(runs)},
        ),
        Part(
            "kills",
            (*PYTEST, "tests/integration/faults"),
            seconds=1800 + 10 * kill_seconds,
            variables={
                "ACTOR_WORKER_TEST_KILL_SECONDS": str(kill_seconds),
                "ACTOR_WORKER_TEST_KILL_SEED": str(first),
            },
        ),
    ]


def run(chosen: Sequence[Part]) -> int:
    """Run these, one after the other, and sum up; 1 when anything failed."""
    failed = False
    summary = ["\n== summary"]
    for part in chosen:
        print(f"== {part.name}: {part.command}", flush=True)
        began = time.monotonic()
        failure = part.run()
        took = time.monotonic() - began
        summary.append(f"{part.name:12}{took:7.0f} s  {failure or 'ok'}")
        if failure is not None:
            failed = True
            summary.append(f"    {part.command}")
    print("\n".join(summary), flush=True)
    return failed


def main() -> int:
    """Run what was asked for."""
    asked = _parser().parse_args()
    found = parts(
        minutes=asked.minutes, runs=asked.runs, kill_seconds=asked.kill_seconds, first=asked.first
    )
    chosen = [part for part in found if asked.only in (None, part.name)]
    if any(part.name == "kills" for part in chosen):
        _find_old_prefects()
    return run(chosen)


def _find_old_prefects() -> None:
    """Those that ``python3 -m tests`` makes; whatever is named in the environment counts."""
    os.environ.setdefault(variable_of(NEWEST), sys.executable)
    for series in OLD_SERIES:
        if variable_of(series) not in os.environ:
            os.environ[variable_of(series)] = str(prefect_environment(series))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    names = [part.name for part in parts(minutes=0, runs=0, kill_seconds=0, first=0)]
    parser.add_argument("--only", choices=names, help="one part; default: all of them")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of simulation (default: %(default)s)"
    )
    parser.add_argument(
        "--first",
        type=int,
        default=random.randrange(FAR),
        help="the first seed of the simulation, and that of the kills (default: by chance)",
    )
    parser.add_argument(
        "--runs", type=int, default=3000, help="to look for leaks in (default: %(default)s)"
    )
    parser.add_argument(
        "--kill-seconds",
        type=float,
        default=120.0,
        help="of killing workers by chance (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
