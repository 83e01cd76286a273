"""Resumes runs that the journal or the keeper knows, and runs whose supervisor has failed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog

from ..domain.errors import (
    FailureKind,
    StateFolderError,
    bug_in_words,
    classify_failure,
)
from ..domain.ids import ClaimKey, claim_of_hooks
from ..domain.log_once import LogOnce
from ..domain.policy import Backoff
from ..domain.ports import Clock, Journal, Launcher
from ..domain.process import KeptRun
from ..domain.record import Phase, Reason, RunRecord
from ..domain.run import Run, found_run, new_run
from ..messages.dispatcher import RunInfo, RunSettled
from ..messages.process_supervisor import CurrentRun, SupervisorStart
from ..messages.services import Peers
from ..runtime import AsyncioActor, AsyncioRef
from .active_runs import ActiveRuns, SupervisorEnded

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


@dataclass(frozen=True, slots=True)
class KeeperAnswered:
    """To the Dispatcher itself: the keeper has told its runs."""

    runs: list[KeptRun]


class Takeover:
    """A part of Dispatcher: resumes what others began.

    Owns: whether the keeper has answered, the claims that were settled before it answered, how
    many supervisors of each run have failed, and why a run is only to be ended.
    """

    def __init__(
        self,
        actor: AsyncioActor,
        runs: ActiveRuns,
        *,
        limit: int | None,
        worker: str,
        journal: Journal,
        launcher: Launcher,
        clock: Clock,
        rng: random.Random,
        peers: Peers,
    ) -> None:
        self._actor = actor
        self._runs = runs
        self._limit = limit
        self._worker = worker
        self._journal = journal
        self._launcher = launcher
        self._clock = clock
        self._rng = rng
        self._peers = peers
        self.has_keeper_answered = False
        """Until then runs may exist that are not in the table, and nothing is admitted."""
        self._settled_early: set[ClaimKey] = set()  # the keeper's answer may still list them
        self._failures: dict[ClaimKey, int] = {}
        self._only_to_end: dict[ClaimKey, str] = {}
        self._silent = LogOnce()
        self._unread = LogOnce()

    # -- the runs that are there at the start ----------------------------------------------------

    async def adopt(self, supervisors: list[AsyncioRef]) -> None:
        """Take over the runs of living supervisors, then the journal's, then the keeper's."""
        answers = await asyncio.gather(
            *(ref.request(CurrentRun(), timeout=None) for ref in supervisors),
            return_exceptions=True,
        )
        for ref, answer in zip(supervisors, answers, strict=True):
            if isinstance(answer, RunInfo):
                self._runs.put(answer, ref)
        recorded = await self._recorded()
        orphans = [run for run in recorded if self._runs.of_claim(run.record.key) is None]
        for run in within_limit(orphans, self._slots_free()):
            self._runs.supervise(SupervisorStart(run))
        self._actor.pipe(self._keepers_runs(), on_result=KeeperAnswered)

    async def _recorded(self) -> list[Run]:
        """The runs that the journal has not closed. StateFolderError: it could not be read."""
        try:
            async with asyncio.timeout(JOURNAL_SECONDS):
                return [Run.from_record(record) for record in await self._journal.open_records()]
        except TimeoutError:
            raise StateFolderError(
                f"The state folder was not read in {JOURNAL_SECONDS:g} s: is its disk stuck?"
            ) from None

    async def _keepers_runs(self) -> list[KeptRun]:
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

    def keeper_answered(self, kept: list[KeptRun]) -> None:
        """Adopt the runs of the keeper's table whose records were lost."""
        self.has_keeper_answered = True
        for key in (run.key for run in kept):
            claim = claim_of_hooks(key)
            if self._is_known(claim or key):
                continue
            if claim is not None:
                forgetting = self._forget_hooks(key)
                self._actor.pipe(forgetting, on_result=lambda _: KeeperAnswered([]))
            else:
                log.error("run.found", key=key, hint="Its record is missing; it is adopted.")
                self._runs.supervise(SupervisorStart(found_run(key, worker=self._worker)))
        self._settled_early.clear()
        self._ask_stage()

    def _is_known(self, key: ClaimKey) -> bool:
        return self._runs.of_claim(key) is not None or key in self._settled_early

    async def _forget_hooks(self, key: ClaimKey) -> None:
        """Ends and forgets hooks of a claim that nobody knows any more."""
        with contextlib.suppress(Exception):  # the next worker tries again
            await self._launcher.end_tree(key, signal=signal.SIGTERM, grace_seconds=5.0)
            await self._launcher.forget(key)

    def _ask_stage(self) -> None:
        """A run that was resumed must end if the worker ends its runs."""
        self._actor.pipe(self._peers.stage(), on_result=lambda stage: stage)

    def _slots_free(self) -> int | None:
        return None if self._limit is None else self._limit - self._runs.usage.slots_in_use

    # -- runs whose supervisor has failed --------------------------------------------------------

    def settled(self, key: ClaimKey) -> None:
        """Nothing is left to do for this claim."""
        if not self.has_keeper_answered:
            self._settled_early.add(key)
        self._failures.pop(key, None)
        self._only_to_end.pop(key, None)

    def supervisor_ended(self, ended: SupervisorEnded) -> None:
        """Resume the run unless it is settled.

        A supervisor that ends before its run is settled has failed; the run has not. It keeps its
        slot, and the next supervisor resumes it from the journal. When too many have failed in a
        row, a last one only ends the run and leaves out all steps that may have failed. If that
        one fails too, the next worker finds the record.
        """
        key, failure = ended.key, ended.failure
        active = self._runs.of_claim(key)
        if active is None or failure is None:
            return
        run = active.info.run
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
            self._settle(key, None)  # held back for a while, as after a refusal
            return
        if failures >= MAX_FAILURES:
            self._only_to_end[key] = bug_in_words(failure)
        pause = BACKOFF.delay(failures, self._rng)
        line.error("supervisor.failed", resumes_in_seconds=round(pause, 2))
        reading = self._read_record(active.info, after_seconds=pause)
        self._actor.pipe(reading, on_result=lambda resume: resume)

    def _settle(self, key: ClaimKey, reason: Reason | None) -> None:
        self._actor.actor_ref.tell_if_alive(RunSettled(key=key, reason=reason))

    def resume(self, resume: Resume) -> None:
        """Start the next supervisor of a run, unless the last one failed at the very end."""
        key, record = resume.key, resume.record
        active = self._runs.of_claim(key)
        if active is None:
            return
        if record is not None and record.phase is Phase.OVER:
            self._settle(key, record.reason)
            return
        start = self._next_start(record, active.info)
        slots_free = self._slots_free()
        if slots_free is not None and slots_free < 0:
            start = replace(start, run=replace(start.run, to_give_back=start.run.is_unstarted))
        self._runs.supervise(start)
        self._ask_stage()

    async def _read_record(self, info: RunInfo, *, after_seconds: float) -> Resume:
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

    def _next_start(self, record: RunRecord | None, info: RunInfo) -> SupervisorStart:
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
            resumed[number] = replace(run, to_give_back=True)
        slots_free -= run.holds_slot
    return resumed
