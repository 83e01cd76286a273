"""How many runs may come in, and which of those that wait outside."""

from __future__ import annotations

import structlog

from ..domain.errors import StateFolderError
from ..domain.ids import FlowRunId
from ..domain.log_once import Complaint
from ..domain.memory import MemorySample, is_short
from ..domain.model import FlowRun
from ..domain.ports import Clock
from ..messages.runs import DueRuns, Intake
from .active_runs import RunTable
from .admission import Admission, within

log = structlog.get_logger("actors.dispatcher")


class Door:
    """A part of Dispatcher, owns: what keeps runs out (the limit, memory, a full disk, refusals).

    ``limit`` is how many runs may hold a slot, None: any number.
    """

    def __init__(self, *, limit: int | None, memory_pause_percent: float, clock: Clock) -> None:
        self._limit = limit
        self._memory_pause_percent = memory_pause_percent
        self._clock = clock
        self._admission = Admission()
        self._rescheduled = 0  # in hand, but on the server's list again, as of the last poll
        self._short_of_memory = False
        self._unwritable = Complaint()
        self.left_some_outside = False
        """Whether the last poll brought more than could be let in."""
        self.left_promising_outside = False
        """Whether some of them are not expected to be refused."""

    def intake(self, runs: RunTable) -> Intake:
        """What to tell the Poller before it asks."""
        refused = self._admission.refused(self._clock.monotonic())
        return Intake(
            free=self.free_slots(runs),
            passed_over=runs.claims + len(refused) + self._rescheduled,
            known=refused | runs.run_ids,
            full_deployments=self._admission.full_deployments,
        )

    def free_slots(self, runs: RunTable) -> int | None:
        """How many may come in; None: any number."""
        if self._short_of_memory:
            return 0
        return None if self._limit is None else max(0, self._limit - runs.slots_in_use)

    def measured(self, sample: MemorySample) -> bool:
        """A machine that is short of memory gets no more runs; whether there is enough again.

        Polls go on all the same, they show the server that the worker is alive.
        """
        threshold, was_short = self._memory_pause_percent, self._short_of_memory
        self._short_of_memory = is_short(sample, threshold_percent=threshold, was_short=was_short)
        percent = round(sample.host_percent, 1)
        if self._short_of_memory and not was_short:
            log.warning(
                "intake.paused",
                memory_percent=percent,
                threshold_percent=threshold,
                hint="Memory is nearly used up: no run is taken until there is more.",
            )
        is_relieved = was_short and not self._short_of_memory
        if is_relieved:
            log.info("intake.resumed", memory_percent=percent)
        return is_relieved

    def wanted(self, due: DueRuns, runs: RunTable) -> list[FlowRun]:
        """Those of a poll's runs that may be claimed, free slots or not."""
        return self._admission.wanted(
            due.runs, in_hand=runs.run_ids, asked_at=due.asked_at, now=self._clock.monotonic()
        )

    def choose(self, due: DueRuns, runs: RunTable) -> list[FlowRun]:
        """The runs to claim of those that a poll brought."""
        self._rescheduled = runs.claimed_among(due.runs)
        free = self.free_slots(runs)
        wanted = self.wanted(due, runs)
        allowed = within(due.shares, wanted, runs.run_ids)
        are_too_many = free is not None and len(allowed) > free
        if are_too_many and not self.left_some_outside and not self._short_of_memory:
            log.info("limit.reached", limit=self._limit, in_hand=len(runs))
        chosen = allowed[:free]
        left = {run.id: run for run in wanted}
        for run in chosen:
            del left[run.id]
        self.left_some_outside = bool(left)
        self.left_promising_outside = any(map(self._admission.is_promising, left.values()))
        return chosen

    def settled(self, run_id: FlowRunId, *, was_refused: bool) -> None:
        """The run is not in hand any more."""
        self._admission.settled(run_id, was_refused=was_refused, now=self._clock.monotonic())

    def disk_checked(self, trouble: StateFolderError | None) -> None:
        """Whether a record could be written, as of now."""
        if trouble is None:
            if self._unwritable.settle():
                log.info("intake.resumed", hint="The state folder can be written again.")
        elif self._unwritable.raise_(str(trouble)):
            log.error(
                "intake.paused",
                error=str(trouble),
                hint="No run is taken until the state folder can be written again.",
            )
