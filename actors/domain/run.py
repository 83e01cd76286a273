"""A run as its supervisor holds it, and how one comes to be."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from .ids import ClaimKey, FlowId, FlowRunId, TransitionId, claim_key
from .model import FlowRun, State, StateType
from .record import Phase, Reason, RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its supervisor holds it: what is recorded, and what can be found out again."""

    record: RunRecord
    holds_slot: bool = True
    tree_gone: bool = True
    """Whether no process of it is left (or was ever started)."""
    adopted: bool = False
    """Whether another supervisor began it, whose last records a full disk may have refused."""
    to_give_back: bool = False
    """Whether it is for other workers, if the claim turns out to have been accepted."""
    says_submitting: bool = False
    """Whether to propose Submitting before its process is started."""
    checking: bool = False
    """Whether the server is being asked for the run's state."""
    failure: str | None = None
    """Why its supervisors failed, in words: it is to be ended."""
    runner_cancels_since: datetime | None = None
    """When its runner was left to cancel it; None: it was not to be cancelled."""
    offered_again: bool = False
    """Whether its log says that it is scheduled again while its process is there."""
    tail_follows: bool = False
    """Whether the last lines of its output are still to come, for the message of its report."""

    @classmethod
    def from_record(cls, record: RunRecord) -> Run:
        """What is assumed before the keeper has answered: the worst."""
        started = record.phase in (Phase.SPAWNING, Phase.RUNNING, Phase.REPORTING)
        return cls(
            record=record,
            holds_slot=record.phase is not Phase.REPORTING or record.awaits_hooks,
            tree_gone=not started,
            adopted=True,
        )

    @property
    def is_claiming(self) -> bool:
        """Whether it is not known yet if the run is ours."""
        return self.record.phase is Phase.CLAIMING

    @property
    def is_unstarted(self) -> bool:
        """Whether it is, or may be, ours and has no process yet."""
        return self.record.phase in (Phase.CLAIMING, Phase.PREPARING)

    @property
    def ends_unstarted(self) -> bool:
        """Whether it is about to be started although it is to be ended."""
        wanted = self.record.cancelling is not None or self.record.reason is not None
        return wanted and self.record.phase is Phase.SPAWNING

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.record.phase is Phase.OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun:
    """Order: the server holds the run in a cancelling ``state``."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRun:
    """Order: the worker has to end the run: a limit was passed, or the worker stops."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedAgain:
    """Fact: a poll that was sent some seconds ago lists the run as due, although it is ours."""

    seconds_ago: float


def new_run(run: FlowRun, *, worker: str, transition: TransitionId) -> Run:
    """A run about to be claimed by ``worker`` with ``transition``."""
    return Run(
        record=RunRecord(
            key=claim_key(run.id, transition),
            worker=worker,
            run=run,
            claim=transition,
            phase=Phase.CLAIMING,
        )
    )


def found_run(key: ClaimKey, *, worker: str) -> Run:
    """A run that only the keeper knows of: its record was lost, or a full disk never took it.

    The key holds the beginning of the claim's id. The rest is derived from the key, so that the
    ids of reports, which follow from the claim's, are the same each time.
    """
    run_id, _, beginning = key.rpartition(".")
    drawn = str(uuid.uuid5(uuid.NAMESPACE_OID, key))
    run = FlowRun(
        id=FlowRunId(run_id),
        name=run_id,
        flow_id=FlowId(""),
        state=State(type=StateType.PENDING, name="Pending"),
    )
    claim = TransitionId(beginning + drawn[len(beginning) :])
    record = new_run(run, worker=worker, transition=claim).record
    return Run.from_record(replace(record, phase=Phase.SPAWNING))
