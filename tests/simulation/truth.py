"""What really happened, noted as it happens: against it is judged what the worker says and does.

Nothing in here is asked of the worker. Times are of the loop's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.domain.ids import ClaimKey, FlowRunId
from actors.domain.model import State
from actors.domain.record import Limits, Reason, RunRecord
from actors.process_supervisor.journaling import LATE_SECONDS
from actors.testing.processes import ScriptedProcess
from tests.support.builders import flow_run_id_of

NEVER = float("-inf")

ANSWER_SECONDS = 1.0
"""How long the disk's answer takes at the longest."""

WISHED = frozenset(
    {
        Reason.CANCELLED,
        Reason.TIMED_OUT,
        Reason.OUT_OF_MEMORY_LIMIT,
        Reason.WORKER_STOPPED,
        Reason.WORKER_FAILED,
        Reason.DELETED,
    }
)
"""The reasons that lead to a signal."""


@dataclass(slots=True)
class Truth:
    """Owns: the facts that rules about the ends of runs need."""

    limits: dict[FlowRunId, Limits] = field(default_factory=dict)
    """What users have set, by the job variables of their runs."""
    processes: dict[ClaimKey, ScriptedProcess] = field(default_factory=dict)
    """Every process there ever was."""
    saved: dict[ClaimKey, RunRecord] = field(default_factory=dict)
    """The last record of each claim that a worker wanted to be saved."""
    on_disk: dict[ClaimKey, Reason | None] = field(default_factory=dict)
    """The reason in the newest record that the disk had room for."""
    decided_at: dict[ClaimKey, float] = field(default_factory=dict)
    """When a worker first noted that it would end a run."""
    unsaved: set[ClaimKey] = field(default_factory=set)
    """Claims of which the full disk holds an old record, or none."""
    wanted_at: dict[ClaimKey, float] = field(default_factory=dict)
    """Since when a worker wants a record of a claim to be saved, and it is not."""
    behind: set[ClaimKey] = field(default_factory=set)
    """Claims whose last record was saved so late that the worker may be ahead of it by now."""
    saved_barely_at: dict[ClaimKey, float] = field(default_factory=dict)
    """When a record of a claim was saved after nearly as long as the worker waits for it."""
    stuck_at: float = NEVER
    """The last time at which the disk was stuck."""
    forgotten: set[ClaimKey] = field(default_factory=set)
    """Those that a supervisor had to take up with what the disk had, or with nothing."""
    deleted_at: dict[FlowRunId, float] = field(default_factory=dict)
    """When users have deleted runs."""
    cancelled: set[FlowRunId] = field(default_factory=set)
    """Runs that were Cancelling at some time."""
    peaks: dict[ClaimKey, int] = field(default_factory=dict)
    """The most bytes that a run held."""
    hooks: dict[ClaimKey, ScriptedProcess] = field(default_factory=dict)
    """The process of each claim's hooks."""
    crashed_by_us: dict[ClaimKey, State] = field(default_factory=dict)
    """Claims that had a process, and the Crashed which the server took from us."""
    kernel_kills: set[ClaimKey] = field(default_factory=set)
    revived: dict[ClaimKey, State] = field(default_factory=dict)
    """The end that a claim was written over, because another worker was faster."""
    late: dict[FlowRunId, str | None] = field(default_factory=dict)
    """The id of the last state that a request has written which was believed to be lost."""
    disturbed_at: float = 0.0
    """The last time at which the worker, or its way to the keeper, was not in order."""
    events_lost_at: float = NEVER
    """The last time at which events may have been lost with an outbox or a refused request."""
    short_since: float | None = None
    """Since when there is too little memory."""

    def limits_of(self, key: ClaimKey) -> Limits:
        """The limits of the run that was claimed under ``key``."""
        return self.limits[flow_run_id_of(key)]

    def note_record(self, record: RunRecord, *, now: float, full: bool) -> None:
        """A worker has saved, or tried to save, ``record``."""
        if record.reason in WISHED:
            self.decided_at.setdefault(record.key, now)
        self.saved[record.key] = record
        if not full:
            self.on_disk[record.key] = record.reason
        if now > self.wanted_at.pop(record.key, now) + LATE_SECONDS - ANSWER_SECONDS:
            self.saved_barely_at[record.key] = now
            self.behind.add(record.key)
        else:
            self.behind.discard(record.key)
        (self.unsaved.add if full else self.unsaved.discard)(record.key)

    def note_wish(self, key: ClaimKey, now: float) -> None:
        """A worker wants a record of ``key`` to be saved."""
        self.wanted_at.setdefault(key, now)

    def is_overdue(self, key: ClaimKey, now: float) -> bool:
        """Whether a record is not saved for so long that the worker goes on without it."""
        if now < self.saved_barely_at.get(key, NEVER) + ANSWER_SECONDS:
            return True  # it may have given up before the answer came
        return now >= self.wanted_at.get(key, now) + LATE_SECONDS

    def note_handover(self, now: float) -> None:
        """Supervisors end, and others take over: with what the disk has."""
        self.forgotten |= self.unsaved | self.behind
        self.forgotten |= {k for k in self.wanted_at if self.is_overdue(k, now)}
        self.disturbed_at = now


def limits_in(variables: Mapping[str, Any]) -> Limits:
    """The limits that these job variables mean."""
    return Limits(
        timeout_seconds=variables.get("timeout_seconds"),
        memory_limit_mb=variables.get("memory_limit_mb"),
        grace_seconds=variables.get("grace_seconds", 30),
        kill_signal=variables.get("kill_signal", 15),
    )
