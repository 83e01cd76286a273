"""What every decision is made of: changes to the run, and effects."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Final

from ...domain.model import Proposal, StateType
from ...domain.record import Phase, RunRecord
from ...domain.run import Run
from .effects import CheckState, Effect, EndTree, FreeSlot, Propose, Remark, Settle, StartTimeout
from .proposals import submitting

REPORTS_WITH_OUTPUT: Final = (StateType.CRASHED, StateType.FAILED)
"""The reports whose message has the last lines of output."""

TAIL_SECONDS: Final = 5.0
"""How long the message of a report waits for the last lines of output. The slot is free then."""


class Turn:
    """One step: the functions of a phase change ``run`` and add to ``effects``."""

    def __init__(self, run: Run, now: datetime) -> None:
        self.run = run
        self.now = now
        self.effects: list[Effect] = []

    @property
    def record(self) -> RunRecord:
        """The run's record; ``turn.record = replace(turn.record, ...)`` changes it."""
        return self.run.record

    @record.setter
    def record(self, record: RunRecord) -> None:
        self.run = replace(self.run, record=record)

    @property
    def worker_reports_states(self) -> bool:
        """Whether the job leaves it to the worker to report Running, Completed and Failed."""
        return self.record.job is not None and self.record.job.report_states

    @property
    def is_to_end(self) -> bool:
        return self.record.cancelling is not None or self.record.reason is not None

    def is_claim(self, proposal: Proposal) -> bool:
        record = self.record
        return record.phase is Phase.CLAIMING and proposal.transition_id == record.claim

    def is_submitting(self, proposal: Proposal) -> bool:
        return self.record.phase is Phase.PREPARING and proposal == submitting(self.record)

    def is_report(self, proposal: Proposal) -> bool:
        report = self.record.report
        return report is not None and proposal.transition_id == report.transition_id

    def do(self, *effects: Effect) -> None:
        self.effects.extend(effects)

    def remark(self, level: int, text: str) -> None:
        self.do(Remark(level=level, text=text))

    def remark_locally(self, text: str) -> None:
        """Leave the run's log alone: it is gone, or another worker may be running it."""
        self.do(Remark(level=logging.INFO, text=text, local=True))

    def propose(self, proposal: Proposal) -> None:
        """Propose a state, which may wait for the last lines of output."""
        waits = self.run.tail_follows and proposal.type in REPORTS_WITH_OUTPUT
        self.do(Propose(proposal=proposal, delay_seconds=TAIL_SECONDS if waits else 0.0))

    def report(self, proposal: Proposal) -> None:
        """Propose the state in which the run is to end up. It needs its slot only for hooks."""
        self.record = replace(self.record, phase=Phase.REPORTING, report=proposal)
        if not self.record.awaits_hooks:
            self.free_slot()
        self.propose(proposal)

    def report_nothing(self) -> None:
        self.record = replace(self.record, report=None)

    def check_state(self) -> None:
        self.run = replace(self.run, checking=True)
        self.do(CheckState())

    def end_tree(self) -> None:
        """Have all processes of the run ended, by the signal and the grace period of its job."""
        self.do(
            EndTree(
                signal=self.record.limits.kill_signal,
                grace_seconds=self.record.limits.grace_seconds,
                announce_cancel=self.record.cancelling is not None,
            )
        )

    def start_timeout(self) -> None:
        """Start the clock of a job whose time is limited; what has passed counts."""
        seconds, started = self.record.limits.timeout_seconds, self.record.started_at
        if seconds is not None and started is not None:
            left = seconds - (self.now - started).total_seconds()
            self.do(StartTimeout(seconds=max(0.0, left)))

    def free_slot(self) -> None:
        if self.run.holds_slot:
            self.run = replace(self.run, holds_slot=False)
            self.do(FreeSlot())

    def settle(self) -> None:
        """Nothing is left to do for this run."""
        self.free_slot()
        self.record = replace(self.record, phase=Phase.OVER, report=None)
        self.do(Settle(reason=self.record.reason))

    def settle_if_done(self) -> None:
        """Settle a run that is reported and has no process left."""
        done = self.record.phase is Phase.REPORTING and self.record.report is None
        is_busy = self.run.checking or self.record.awaits_hooks
        if done and self.run.tree_gone and not is_busy:
            self.settle()
