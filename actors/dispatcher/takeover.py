"""Resumes runs that the journal or the keeper knows, and runs whose supervisor has failed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace

import structlog

from ..domain.errors import FailureKind, StateFolderError, bug_in_words, classify_failure
from ..domain.ids import ClaimKey
from ..domain.log_once import LogOnce
from ..domain.policy import Backoff
from ..domain.ports import Clock, Journal, Launcher
from ..domain.process import KeptRun
from ..domain.record import Phase, RunRecord
from ..domain.run import Run, found_run, new_run
from ..messages.dispatcher import RunInfo
from ..messages.process_supervisor import SupervisorStart
from .active_runs import ActiveRun

log = structlog.get_logger("actors.dispatcher")

JOURNAL_SECONDS = 8.0
"""How long the disk may take at the start; a service has little more time to start."""

BACKOFF = Backoff(initial=0.1, ceiling=60.0)

MAX_FAILURES = 10
"""After so many failures in a row, which take two minutes, a last supervisor only ends the run.

A bug may keep a record from being read as often."""

STEADY_SECONDS = 600.0
"""A supervisor that fails after so long is the first in a row."""


KEEPER_PAUSE_SECONDS = 1.0
"""Between two questions to a keeper that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """To the Dispatcher itself: start the next supervisor of this run, from its record."""

    key: ClaimKey
    record: RunRecord | None
    """None: there is none, or it cannot be read."""


class Takeover:
    """A part of Dispatcher, owns: whether the keeper has answered, the claims that were settled
    before it answered, how many supervisors of each run have failed, and why a run is only to be
    ended."""

    def __init__(
        self,
        *,
        worker: str,
        journal: Journal,
        launcher: Launcher,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._worker = worker
        self._journal = journal
        self._launcher = launcher
        self._clock = clock
        self._rng = rng
        self.keeper_answered = False
        """Until then runs may exist that are not in the table, and nothing is admitted."""
        self._settled_early: set[ClaimKey] = set()  # the keeper's answer may still list them
        self._failures: dict[ClaimKey, int] = {}
        self._only_to_end: dict[ClaimKey, str] = {}
        self._silent = LogOnce()
        self._unread = LogOnce()

    async def recorded(self) -> list[Run]:
        """The runs that the journal has not closed. StateFolderError: it could not be read."""
        try:
            async with asyncio.timeout(JOURNAL_SECONDS):
                return [Run.from_record(record) for record in await self._journal.open_records()]
        except TimeoutError:
            raise StateFolderError(
                f"The state folder was not read in {JOURNAL_SECONDS:g} s: is its disk stuck?"
            ) from None

    async def keepers_runs(self) -> list[KeptRun]:
        """The keeper's table. The keeper is asked until it answers."""
        while True:
            try:
                kept = await self._launcher.table()
            except Exception as error:
                if self._silent.report(str(error)):
                    log.warning("keeper.silent", error=str(error))
                await self._clock.sleep(KEEPER_PAUSE_SECONDS)
            else:
                if self._silent.resolve():
                    log.info("keeper.answers_again")
                return kept

    def keeper_answered_with(self, kept: list[KeptRun], active: Container[ClaimKey]) -> list[Run]:
        """Return the runs of the keeper's table whose records were lost."""
        found = [
            run.key for run in kept if run.key not in active and run.key not in self._settled_early
        ]
        for key in found:
            log.error("run.found", key=key, hint="Its record is missing; it is adopted.")
        self.keeper_answered = True
        self._settled_early.clear()
        return [found_run(key, worker=self._worker) for key in found]

    def settled(self, key: ClaimKey) -> None:
        """Nothing is left to do for this claim."""
        if not self.keeper_answered:
            self._settled_early.add(key)
        self._failures.pop(key, None)
        self._only_to_end.pop(key, None)

    def supervisor_failed(self, active: ActiveRun, failure: BaseException) -> float | None:
        """In how many seconds to resume the run; None: it is left to the next worker.

        A supervisor that ends before its run is settled has failed; the run has not. It keeps its
        slot, and the next supervisor resumes it from the journal. When too many have failed in a
        row, a last one only ends the run and leaves out all steps that may have failed.
        """
        key, run = active.info.key, active.info.run
        is_steady = self._clock.monotonic() - active.since > STEADY_SECONDS
        failures = 1 if is_steady else self._failures.get(key, 0) + 1
        self._failures[key] = failures
        line = log.bind(
            flow_run_id=run.id, flow_run_name=run.name, error=repr(failure), failures=failures
        )
        if key in self._only_to_end:
            line.error(
                "run.abandoned", hint="Its record is kept, and the next worker tries again."
            )
            return None
        if failures >= MAX_FAILURES:
            self._only_to_end[key] = bug_in_words(failure)
        pause = BACKOFF.delay(failures, self._rng)
        line.error("supervisor.failed", resumes_in_seconds=round(pause, 2))
        return pause

    async def read_record(self, info: RunInfo, *, after_seconds: float) -> Resume:
        """Read the record of a run whose supervisor has failed; repeatedly if need be."""
        await self._clock.sleep(after_seconds)
        failures = 0
        while True:
            try:
                record = await self._journal.record(info.key)
            except Exception as error:
                failures += 1
                self._unread.log_failure(log, "run.unread", error, flow_run_id=info.run.id)
                if failures >= MAX_FAILURES and classify_failure(error) is FailureKind.BUG:
                    self._only_to_end[info.key] = bug_in_words(error)
                    return Resume(key=info.key, record=None)
                await self._clock.sleep(BACKOFF.delay(failures, self._rng))
            else:
                if self._unread.resolve():
                    log.info("run.read", key=info.key)
                return Resume(key=info.key, record=record)

    def next_start(self, record: RunRecord | None, info: RunInfo) -> SupervisorStart:
        """What the next supervisor is started with.

        Without a record, because a full disk never took it or it cannot be read, the claim is
        enough for the supervisor to find out how far the run came.
        """
        if record is None:
            log.error("run.unrecorded", flow_run_id=info.run.id)
            record = new_run(info.run, worker=self._worker, transition=info.claim).record
            if info.claimed:  # then it may have a process
                record = replace(record, phase=Phase.SPAWNING)
        cause = self._only_to_end.get(info.key)
        if cause is not None:
            failures = self._failures.get(info.key, 0)
            log.error("run.given_up", flow_run_id=info.run.id, failures=failures, cause=cause)
        return SupervisorStart(Run.from_record(record), failure=cause)


def within_limit(runs: Iterable[Run], slots_free: int | None) -> list[Run]:
    """Return ``runs``, those that have begun first.

    A run that has no process is marked to be given back to the server where no slot is free: a
    predecessor may have stopped waiting for the answer to its claim, and have claimed another run
    in its place. ``slots_free`` is None without a limit.
    """
    if slots_free is None:
        return list(runs)
    resumed = sorted(runs, key=lambda run: run.is_unstarted)
    for number, run in enumerate(resumed):
        if run.is_unstarted and slots_free <= 0:
            resumed[number] = replace(run, given_up=True)
        slots_free -= run.holds_slot
    return resumed
