"""The worker under many seeds of faults; what once went wrong; and that it is the same each time.

The planted bugs and longer searches are for ``python -m tests.simulation``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.many import run_seeds
from tests.simulation.planted import BUGS
from tests.simulation.planting import Planted
from tests.simulation.play import Outcome, play

SEEDS = int(os.environ.get("ACTOR_WORKER_TEST_SEEDS", "200"))
REGRESSIONS = Path(__file__).with_name("regressions.txt")
ROOT = Path(__file__).parents[2]

DIGEST = "from tests.simulation.play import play; print(play({seed}).digest)"

EASILY_FOUND = (
    "dies of a failed poll",
    "frees no slot",
    "reports without a look",
    "spawns under new keys",
    "settles too early",
    "times out at once",
    "never times out",
    "emits nothing",
    "gives no grace",
    "calls the cancelled crashed",
    "runs what others ended",
    "waits for no disk",
    "retries bugs for ever",
)
"""Bugs that few seeds show; all of them take minutes: ``--mutations``."""


def told(outcome: Outcome) -> str:
    """What whoever sees the failure needs: the rule, the command, the end of the trace."""
    replay = f"python -m tests.simulation --replay {outcome.seed}"
    return "\n".join((f"{outcome.problem}", replay, *outcome.trace[-40:]))


# Worker processes of a pool that ends with the test; multiprocessing keeps its tracker.
@pytest.mark.keeps("processes", "descriptors", "threads")
def test_every_invariant_holds_under_all_seeds() -> None:
    broken = [outcome for outcome in run_seeds(0, SEEDS) if outcome.problem is not None]
    assert not broken, "\n\n".join(told(outcome) for outcome in broken[:3])


@pytest.mark.parametrize(
    "seed",
    [
        int(line.split()[0])
        for line in REGRESSIONS.read_text().splitlines()
        if not line.startswith("#")
    ],
)
def test_what_once_broke_an_invariant_does_so_no_more(seed: int) -> None:
    outcome = play(seed)
    assert outcome.problem is None, told(outcome)


@pytest.mark.parametrize("seed", [3, 67])
def test_a_seed_tells_the_same_story_whatever_the_hash_seed(seed: int) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST.format(seed=seed)],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert digests == {play(seed).digest}


@pytest.mark.parametrize("bug", [b for b in BUGS if b.bug in EASILY_FOUND], ids=lambda b: b.bug)
def test_a_planted_bug_is_found(bug: Planted) -> None:
    with bug.applied():
        assert any(play(seed, keep_trace=False).problem for seed in range(60))
    assert play(1, keep_trace=False).problem is None


@pytest.mark.parametrize("planted", BUGS, ids=lambda planted: planted.bug)
def test_a_planted_bug_changes_something_that_is_there(planted: Planted) -> None:
    """A name that was changed in the code would be noticed by ``--mutations`` only."""
    with planted.applied():
        pass
