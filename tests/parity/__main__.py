"""``python -m tests.parity``: what Prefect's own worker does, and what this one does.

Every scenario is played with both on one real server, each with a work pool of its own, and what
came of it is printed side by side. With a new Prefect, ``--prefect`` names a Python that has it:
lines that differ from the last release's belong in config/docs/features.rst.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.integration.prefect.kit import Place
from tests.parity import cancels, ends, starts, submission
from tests.parity.sides import OURS, PEER, Side, cleanly
from tests.support.prefect_server import NEWEST, PrefectServer, interpreter

Scenario = Callable[[Side], str]

SCENARIOS: Final[tuple[Scenario, ...]] = (
    *ends.SCENARIOS,
    *cancels.SCENARIOS,
    *submission.SCENARIOS,
    *starts.SCENARIOS,
)

WIDTH: Final = 44


def title(scenario: Scenario) -> str:
    return scenario.__name__.replace("_", " ")


def play(scenario: Scenario, name: str, server: PrefectServer, kept: Path) -> str:
    """What came of it, or why nothing did: one scenario that fails does not end the others."""
    folder = Path(tempfile.mkdtemp(prefix=f"{scenario.__name__[:30]}-{name}-", dir=kept))
    side = Side(name, Place(server, folder))
    try:
        with cleanly(side):
            side.place.create_pool()
            return scenario(side)
    except Exception as error:
        return f"not seen: {type(error).__name__}: {error}"


def row(*cells: str) -> str:
    """Cells side by side, each wrapped to its width."""
    columns = [textwrap.wrap(cell, WIDTH) or [""] for cell in cells]
    lines = max(map(len, columns))
    padded = [column + [""] * (lines - len(column)) for column in columns]
    return "\n".join(
        "  ".join(cell.ljust(WIDTH) for cell in line).rstrip()
        for line in zip(*padded, strict=True)
    )


def compare(chosen: Sequence[Scenario], server: PrefectServer, kept: Path, jobs: int) -> None:
    """Plays them, ``jobs`` at a time, and prints each row when both sides are done with it."""
    printing = threading.Lock()

    def line(scenario: Scenario) -> None:
        peer, ours = (play(scenario, name, server, kept) for name in (PEER, OURS))
        with printing:
            print(row(title(scenario), peer, ours), end="\n\n", flush=True)

    print(row("scenario", "Prefect's worker", "this worker"))
    print(row(*["-" * WIDTH] * 3), flush=True)
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(line, chosen))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument(
        "--prefect", metavar="PYTHON", help="has Prefect; default: the newest known"
    )
    parser.add_argument("--only", metavar="WORD", help="scenarios with this in their names")
    parser.add_argument("--jobs", type=int, default=2, help="at a time; default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where workers' logs are kept")
    options = parser.parse_args()
    python = options.prefect or interpreter(NEWEST)
    if python is None:
        print(f"No Python has Prefect {NEWEST}: make one with python3 -m tests --only-install")
        return 2
    # Prefect's worker cannot be told to stop where it inherits that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [each for each in SCENARIOS if (options.only or "") in title(each)]
    version = subprocess.check_output(
        [python, "-c", "import prefect; print(prefect.__version__)"], text=True
    )
    print(f"Prefect {version}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        kept = options.keep or Path(folder)
        kept.mkdir(exist_ok=True)
        with PrefectServer(python, Path(folder) / "server") as server:
            compare(chosen, server, kept, options.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
