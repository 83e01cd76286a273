"""Finds due runs, also those that a poll does not show because others stand before them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..domain.errors import OrchestratorError
from ..domain.ids import FlowRunId
from ..domain.log_once import Log, LogOnce
from ..domain.model import DueListing, FlowRun, WorkPool, WorkQueue
from ..domain.ports import Clock, Orchestrator
from ..messages.dispatcher import MAX_RUNS_PER_POLL, Capacity, Share
from ..messages.services import ServiceSettings

REST_FACTOR: Final = 9.0
"""A search that finds nothing is followed by a rest of this many times what it took."""


@dataclass(frozen=True, slots=True)
class Found:
    """Due runs in the server's order; ``shares`` bound how many of them may be claimed."""

    runs: tuple[FlowRun, ...]
    shares: tuple[Share, ...] = ()


class RunSearch:
    """A part of Poller, owns: when it may search again.

    An answer to a poll holds at most 200 runs, and no more than the concurrency limits of pool
    and queues leave room for. Runs whose claim is refused fill it again and again, for ever if
    their deployment has a limit of 0. Then the queues are asked one by one, each for all that
    waits in it. Those lists know of no limits and pauses, so polls still say how many may be
    claimed: of each queue as many as a poll of it lists, and of all together as many as the
    longest answer.

    After a search that found nothing it rests, for the time between two polls at least.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        orchestrator: Orchestrator,
        clock: Clock,
        log: Log,
    ) -> None:
        self._settings = settings
        self._orchestrator = orchestrator
        self._clock = clock
        self._log = log
        self._rests_until = clock.monotonic()
        self._trouble = LogOnce()

    async def find(
        self, capacity: Capacity, *, pool: WorkPool, queues: Iterable[WorkQueue], before: datetime
    ) -> Found:
        """Poll, and search on if that may be worth its while.

        ``pool`` and ``queues`` are as of the last heartbeat. Raises what the poll raises; a search
        that fails is logged, and what the poll has brought counts.
        """
        polled = await self._orchestrator.read_due_runs(
            self._settings.pool, self._settings.queues, before=before, limit=capacity.ask_for
        )
        promising = sum(map(capacity.is_promising, polled.runs))
        is_enough = promising >= capacity.enough or promising == polled.length
        limits = [pool.concurrency_limit, *(queue.concurrency_limit for queue in queues)]
        may_hide_runs = polled.may_be_cut or any(limit is not None for limit in limits)
        if is_enough or not may_hide_runs or self._clock.monotonic() < self._rests_until:
            return Found(polled.runs)
        return await self._search(polled, capacity, pool=pool, before=before)

    async def _search(
        self, polled: DueListing, capacity: Capacity, *, pool: WorkPool, before: datetime
    ) -> Found:
        began = self._clock.monotonic()
        try:
            found = await self._ask_queues(polled, capacity, pool=pool, before=before)
        except OrchestratorError as error:
            if self._trouble.report(str(error)):
                self._log.warning("poll.search_failed", error=str(error))
            found = Found(polled.runs)
        else:
            if self._trouble.resolve():
                self._log.info("poll.search_recovered")
        shown = {run.id for run in polled.runs}
        if not any(capacity.is_promising(run) for run in found.runs if run.id not in shown):
            now = self._clock.monotonic()
            self._rests_until = now + max(
                self._settings.query_seconds, REST_FACTOR * (now - began)
            )
        return found

    async def _ask_queues(
        self, polled: DueListing, capacity: Capacity, *, pool: WorkPool, before: datetime
    ) -> Found:
        """Queue by queue in the order of their priority, until enough is found."""
        found: dict[FlowRunId, FlowRun] = {}
        shares: list[Share] = []
        longest = polled.length
        missing = capacity.enough
        for queue in await self._orchestrator.read_work_queues(
            self._settings.pool, self._settings.queues
        ):
            if missing <= 0:
                break
            if queue.is_paused:
                continue
            listed = await self._orchestrator.read_due_runs(
                self._settings.pool, [queue.name], before=before, limit=MAX_RUNS_PER_POLL
            )
            if not listed.length:
                continue
            runs = {run.id: run for run in listed.runs}
            waiting: list[FlowRun] = []
            limits = (pool.concurrency_limit, queue.concurrency_limit)
            if listed.may_be_cut or limits != (None, None):
                waiting = await self._orchestrator.read_scheduled_runs(
                    self._settings.pool, queue.name, before=before
                )
                runs |= _worth_claiming(waiting, listed.runs, capacity)
            everyone = frozenset(run.id for run in (*listed.runs, *waiting))
            shares.append(Share(runs=everyone, room=listed.length))
            longest = max(longest, listed.length)
            missing -= min(listed.length, sum(map(capacity.is_promising, runs.values())))
            found |= runs
        for run in polled.runs:
            found.setdefault(run.id, run)
        everyone = frozenset(found).union(*(share.runs for share in shares))
        shares.append(Share(runs=everyone, room=longest))
        return Found(tuple(found.values()), tuple(shares))


def _worth_claiming(
    waiting: Iterable[FlowRun], listed: Iterable[FlowRun], capacity: Capacity
) -> dict[FlowRunId, FlowRun]:
    """What is promising, and one run of each other deployment, which may have room by now."""
    tried = {run.deployment_id for run in listed}
    chosen: dict[FlowRunId, FlowRun] = {}
    for run in waiting:
        if capacity.is_promising(run) or run.deployment_id not in tried:
            tried.add(run.deployment_id)
            chosen[run.id] = run
    return chosen
