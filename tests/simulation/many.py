"""Many seeds on all cores."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Iterator
from itertools import count, islice

from .planted import BUGS
from .planting import Planted
from .play import Outcome, play

TRIES_PER_BUG = 500
CHUNK = 8


def run_seeds(
    first: int, number: int | None, seconds: float | None = None, *, jobs: int | None = None
) -> Iterator[Outcome]:
    """Play ``number`` seeds from ``first`` on, or for so many ``seconds``; in no certain order."""
    seeds: Iterable[int] = count(first) if number is None else range(first, first + number)
    deadline = None if seconds is None else time.monotonic() + seconds
    jobs = jobs or os.cpu_count() or 1
    with _pool(jobs) as pool:
        turns = iter(seeds)
        while batch := list(islice(turns, CHUNK * jobs * 4)):
            yield from pool.imap_unordered(_play_quickly, batch, chunksize=CHUNK)
            if deadline is not None and time.monotonic() > deadline:
                return


def find_bugs(*, jobs: int | None = None) -> Iterator[tuple[Planted, Outcome | None]]:
    """Each planted bug with the first seed that shows it; None: not found in 500."""
    with _pool(jobs or os.cpu_count() or 1) as pool:
        for number, outcome in pool.imap(_find_bug, range(len(BUGS))):
            yield BUGS[number], outcome


def _find_bug(number: int) -> tuple[int, Outcome | None]:
    with BUGS[number].applied():
        for seed in range(TRIES_PER_BUG):
            outcome = play(seed, keep_trace=False)
            if outcome.problem is not None:
                return number, outcome
    return number, None


def _play_quickly(seed: int) -> Outcome:
    return play(seed, keep_trace=False)


def _pool(jobs: int) -> multiprocessing.pool.Pool:
    # Spawned, not forked: nothing of the parent's threads, loops and seeds comes along.
    return multiprocessing.get_context("spawn").Pool(jobs)
