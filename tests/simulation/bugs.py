"""Errors that nobody has thought of, at random, or whenever something is done for one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Literal

from actors.app.job_preparer import JobPreparer
from actors.domain.ids import FlowRunId
from actors.domain.model import Proposal, StateType, WorkPool
from actors.domain.record import RunRecord
from actors.job.job import PreparedJob
from actors.process_supervisor.machine.proposals import is_submitting

from .plan import Program

Moment = Literal["before", "after"]

NAMES = {
    "read_flow_run": "look",
    "read_history": "history",
    "set_infrastructure_pid": "pid",
    "add_labels": "labels",
}

UNREPORTED = frozenset({"claim", "report", "look"})
"""With one of these bugs a run stays as it is at the server, until the worker is mended."""

LOSES_HOLD = frozenset({"watch", "end_tree", "note"})
"""With one of these bugs supervisor after supervisor fails."""


class Surprise(Exception):
    """An error that is in nobody's list."""


class Bugs:
    """Owns: which runs the worker has a bug with, until it is mended."""

    def __init__(
        self,
        programs: Mapping[FlowRunId, Program],
        chance: Callable[[], float],
        rng: Random,
        met: Callable[[str], None],
    ) -> None:
        self._programs = programs
        self._chance = chance
        self._rng = rng
        self._met = met
        self.mended = False

    def meet(self, what: str, run_id: FlowRunId, moment: Moment) -> None:
        """Raises Surprise where there is a bug."""
        chance = self._chance()
        is_unlucky = chance > 0.0 and self._rng.random() < chance / 2
        if is_unlucky or (not self.mended and self.of(run_id) == (what, moment)):
            self._met(what)
            raise Surprise(f"{moment} {what}")

    def of(self, run_id: FlowRunId) -> tuple[str, str] | None:
        """The bug with this run."""
        program = self._programs.get(run_id)
        return None if program is None else program.bug

    def has(self, run_id: FlowRunId, kinds: frozenset[str]) -> bool:
        """Whether this run meets one of these bugs again and again."""
        bug = self.of(run_id)
        return bug is not None and bug[0] in kinds


def name_of(operation: str, args: tuple[object, ...]) -> str | None:
    """What a request is for; None: not a supervisor's."""
    if operation == "propose_state":
        proposal = args[1]
        assert isinstance(proposal, Proposal)
        if is_submitting(proposal):
            return "submitting"
        return "claim" if proposal.type is StateType.PENDING else "report"
    return NAMES.get(operation)


class BuggyJobPreparer:
    """A JobPreparer with bugs."""

    def __init__(self, preparer: JobPreparer, bugs: Bugs) -> None:
        self._preparer = preparer
        self._bugs = bugs

    async def prepare_job(self, record: RunRecord, pool: WorkPool) -> PreparedJob:
        self._bugs.meet("prepare", record.run.id, "before")
        preparation = await self._preparer.prepare_job(record, pool)
        self._bugs.meet("prepare", record.run.id, "after")
        return preparation
