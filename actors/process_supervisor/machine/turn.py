"""What every step in a run's life is made of: changes to the run, and effects."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from ...domain.model import Proposal, StateType
from ...domain.record import Limits, Phase, RunRecord
from ...domain.run import Run
from .effects import CheckState, Effect, EndTree, FreeSlot, Propose, Remark, Settle, StartTimeout

TELLS_OUTPUT: Final = (StateType.CRASHED, StateType.FAILED)
"""The reports whose message has the last lines of output."""

TAIL_SECONDS: Final = 5.0
"""How long the message of a report waits for the last lines of output. The slot is free then."""


class Turn:
    """One step: rewrites the run, collects effects. Lives no longer than that."""

    def __init__(self, run: Run, now: datetime) -> None:
        self.run = run
        self.now = now
        self.effects: list[Effect] = []

    @property
    def _record(self) -> RunRecord:
        return self.run.record

    @property
    def _limits(self) -> Limits:
        return self._record.job.limits if self._record.job else Limits()

    @property
    def _job_reports_states(self) -> bool:
        return self._record.job is not None and self._record.job.report_states

    def _arm_timeout(self) -> None:
        seconds, started = self._limits.timeout_seconds, self._record.started_at
        if seconds is not None and started is not None:
            left = seconds - (self.now - started).total_seconds()
            self._do(StartTimeout(seconds=max(0.0, left)))

    def _report(self, proposal: Proposal, *, phase: Phase = Phase.REPORTING) -> None:
        self._save(phase=phase, report=proposal)
        if phase is Phase.REPORTING:
            self._free_slot()
        self._propose(proposal)

    def _propose(self, proposal: Proposal) -> None:
        waits = self.run.tail_follows and proposal.type in TELLS_OUTPUT
        delay = TAIL_SECONDS if waits else 0.0
        self._do(Propose(proposal=proposal, delay_seconds=delay))

    def _check_state(self) -> None:
        self.run = replace(self.run, checking=True)
        self._do(CheckState())

    def _free_slot(self) -> None:
        if self.run.holds_slot:
            self.run = replace(self.run, holds_slot=False)
            self._do(FreeSlot())

    def _remark(self, level: int, text: str) -> None:
        self._do(Remark(level=level, text=text))

    def _settle_if_done(self) -> None:
        done = self._record.phase is Phase.REPORTING and self._record.report is None
        if done and self.run.tree_gone and not self.run.checking:
            self._over()

    def _over(self) -> None:
        self._free_slot()
        self._save(phase=Phase.OVER, report=None)
        self._do(Settle(reason=self._record.reason))

    def _do(self, *effects: Effect) -> None:
        self.effects.extend(effects)

    def _save(self, **changes: Any) -> None:
        self.run = replace(self.run, record=replace(self._record, **changes))

    def _end_tree(self) -> None:
        limits = self._limits
        self._do(
            EndTree(
                signal=limits.kill_signal,
                grace_seconds=limits.grace_seconds,
                announce_cancel=self._record.cancelling is not None,
            )
        )
