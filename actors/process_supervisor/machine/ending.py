"""A run's way out: end, exit, report."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from ...domain.exit_status import BY_SIGKILL, crash_message, explain
from ...domain.model import Accepted, Proposal, State, StateType, Verdict, Wait
from ...domain.process import ExitStatus
from ...domain.record import Phase, Reason
from .effects import Emit, EventKind, Propose
from .proposals import cancelled, crashed, outcome
from .stimuli import Exited
from .turn import TELLS_OUTPUT, Turn

RUNNER_GRACE_SECONDS: Final = 30.0
"""What Prefect's runner gives a flow from SIGTERM to SIGKILL (its CancellationManager)."""


class Ending(Turn):
    """From the wish to end a run, or its exit, to the server's last word."""

    def _cancel_wanted(self, state: State) -> None:
        record = self._record
        if record.cancelling is not None or record.phase is Phase.OVER:
            return
        if record.job is not None and record.job.uses_runner and not self._runner_had_its_time():
            return
        self._save(cancelling=state)
        if record.phase is not Phase.REPORTING:
            self._save(reason=Reason.CANCELLED)
        if record.phase is Phase.PREPARING:
            self._report(cancelled(record, state))
        elif record.phase is Phase.RUNNING:
            self._remark(logging.INFO, "Cancelling: ending the process and all it started.")
            self._end_tree()
        elif record.phase is Phase.REPORTING and record.report is None:
            self._report(cancelled(record, state))

    def _runner_had_its_time(self) -> bool:
        """Whether ``prefect flow-run execute``, which cancels by itself, seems to hang.

        It hears of a cancellation as the worker does. The wish is repeated with every look at the
        server for as long as that still has the run Cancelling, so this needs no timer.
        """
        since = self.run.runner_cancels_since
        if since is None:
            self.run = replace(self.run, runner_cancels_since=self.now)
            return False
        seconds = RUNNER_GRACE_SECONDS + self._limits.grace_seconds
        return (self.now - since).total_seconds() >= seconds

    def _end_wanted(self, reason: Reason) -> None:
        record = self._record
        if record.reason is not None:
            return
        if record.phase in (Phase.CLAIMING, Phase.PREPARING, Phase.SPAWNING, Phase.RUNNING):
            self._save(reason=reason)
        if record.phase is Phase.RUNNING:
            self._end_tree()
        elif record.phase is Phase.PREPARING:
            self._report(crashed(record, crash_message(reason, None, ())))

    def _exited(self, exited: Exited) -> None:
        record, status = self._record, exited.status
        if record.phase not in (Phase.SPAWNING, Phase.RUNNING):
            return
        reason = record.reason or _reason_of(status, kernel_kill=exited.kernel_kill)
        self._save(exit=status, reason=reason)
        self.run = replace(self.run, tail_follows=exited.tail_follows)
        self._do(Emit(kind=EventKind.EXECUTED))
        explanation = explain(status.code)
        self._remark(explanation.level, f"Process {record.pid}: {explanation.text}")
        self._tell_the_end(status, reason, exited.tail)

    def _tail_known(self, tail: tuple[str, ...]) -> None:
        """Put the lines into the message, by the same transition id, unless it is told by now."""
        record, waits = self._record, self.run.tail_follows
        self.run = replace(self.run, tail_follows=False)
        tells = record.report is not None and record.report.type in TELLS_OUTPUT
        if waits and tells and record.exit is not None and record.reason is not None:
            self._tell_the_end(record.exit, record.reason, tail)

    def _tell_the_end(self, status: ExitStatus, reason: Reason, tail: tuple[str, ...]) -> None:
        record = self._record
        if record.cancelling is not None:
            self._report(cancelled(record, record.cancelling))
        elif reason is Reason.EXITED and record.job is None:
            # Who was to report its end is not known; what an engine reported stands.
            cause = "The worker's record of it was lost, so what came of it is not known."
            self._report(crashed(record, crash_message(reason, status, tail, cause=cause)))
        elif reason is Reason.EXITED and not self._job_reports_states:
            self._nothing_to_report()
        elif self._job_reports_states and reason in (Reason.EXITED, Reason.FAILED):
            message = None if reason is Reason.EXITED else crash_message(reason, status, tail)
            self._report(outcome(record, ok=reason is Reason.EXITED, message=message))
        else:
            message = crash_message(reason, status, tail, limits=self._limits)
            self._report(crashed(record, message))

    def _nothing_to_report(self) -> None:
        """A clean exit: the engine has told the server how the flow ended (contract 7.5)."""
        self._save(phase=Phase.REPORTING, report=None)
        self._free_slot()
        self._check_state()

    def _seen_after_its_end(self, state: State | None) -> None:
        if self._record.report is not None or state is None:
            return
        if state.type is StateType.CANCELLING:
            self._save(cancelling=state)
            self._report(cancelled(self._record, state))
        elif state.type is StateType.CANCELLED and self._record.cancelling is not None:
            self._do(Emit(kind=EventKind.CANCELLED))
        elif state.type is StateType.PENDING:
            self._remark(
                logging.WARNING,
                "The command ended well but nothing reported a state, so this flow run stays "
                "Pending. Set the job variable report_states to true to have the worker report "
                "Running at its start and Completed or Failed at its end.",
            )

    def _vacated(self, leftovers: int) -> None:
        if leftovers:
            self._remark(
                logging.WARNING,
                f"Ended {leftovers} process(es) that this flow run had left behind.",
            )
        self.run = replace(self.run, tree_gone=True)

    def _report_answered(self, report: Proposal, verdict: Verdict) -> None:
        if isinstance(verdict, Wait):
            self._do(Propose(proposal=report, delay_seconds=verdict.delay_seconds))
            return
        if self._record.phase is Phase.RUNNING:  # Running, for a command that reports states
            self._save(report=None)
            return
        state = verdict.state
        now_at = None if state is None else state.type
        if report.type is StateType.CANCELLED:
            self._cancelled_answered(report, verdict, now_at)
        elif state is not None and now_at is StateType.CANCELLING:
            self._save(cancelling=state)
            self._report(cancelled(self._record, state))
        else:
            if (
                self._record.reason
                and isinstance(verdict, Accepted)
                and now_at is StateType.CRASHED
            ):
                self._remark(logging.INFO, "Reported this flow run as crashed.")
            self._save(report=None)

    def _cancelled_answered(
        self, report: Proposal, verdict: Verdict, now_at: StateType | None
    ) -> None:
        may_force = now_at is StateType.CANCELLING or (
            now_at is StateType.CRASHED and self._record.reason is Reason.CANCELLED
        )
        if isinstance(verdict, Accepted) or now_at is StateType.CANCELLED:
            self._save(report=None)
            self._do(Emit(kind=EventKind.CANCELLED))
            self._remark(logging.INFO, "Cancelled this flow run.")
        elif may_force and not report.force and self._record.cancelling is not None:
            self._report(cancelled(self._record, self._record.cancelling, force=True))
        else:
            self._remark(logging.INFO, "The flow run was over before it could be cancelled.")
            self._save(report=None)


def _reason_of(status: ExitStatus, *, kernel_kill: bool) -> Reason:
    if status.lost:
        return Reason.LOST
    if kernel_kill and status.code in BY_SIGKILL:
        return Reason.OUT_OF_MEMORY_KERNEL
    return Reason.EXITED if status.code == 0 else Reason.FAILED
