"""``python -m tests.simulation``: play seeds, replay one, or look for the planted bugs."""

from __future__ import annotations

import argparse
import sys
import time

from .many import TRIES_PER_BUG, find_bugs, run_seeds
from .play import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many (default: 2000, or see --minutes)")
    parser.add_argument("--minutes", type=float, help="stop after so long")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--replay", type=int, metavar="SEED", help="play one, print its trace")
    parser.add_argument("--mutations", action="store_true", help="look for the planted bugs")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay)
    if options.mutations:
        return mutations()
    number = options.seeds if options.seeds or options.minutes else 2000
    return search(options.first, number, options.minutes)


def replay(seed: int) -> int:
    outcome = play(seed)
    print("\n".join(outcome.trace))
    print(f"\nseed {seed}: {outcome.problem or 'every invariant held'}")
    return outcome.problem is not None


def search(first: int, number: int | None, minutes: float | None) -> int:
    started, played, broken = time.monotonic(), 0, 0
    for outcome in run_seeds(first, number, None if minutes is None else minutes * 60):
        played += 1
        if outcome.problem is not None:
            broken += 1
            print(f"seed {outcome.seed}: {outcome.problem}")
            print(f"    python -m tests.simulation --replay {outcome.seed}", flush=True)
    print(
        f"{played} seeds in {time.monotonic() - started:.0f} s, {broken} with a broken invariant"
    )
    return broken > 0


def mutations() -> int:
    missed = 0
    for bug, outcome in find_bugs():
        if outcome is None:
            missed += 1
            print(f"{bug.bug}: NOT FOUND in {TRIES_PER_BUG} seeds", flush=True)
        else:
            print(f"{bug.bug}: seed {outcome.seed}, {outcome.problem}", flush=True)
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
