"""A run that a test leads from step to step, without a process or a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from actors.domain.ids import FlowId, FlowRunId, TransitionId
from actors.domain.model import (
    Accepted,
    FlowRun,
    Proposal,
    State,
    StateType,
    Verdict,
)
from actors.domain.process import ExitStatus, TreeEnded
from actors.domain.record import JobSummary, Limits, Phase
from actors.domain.run import Run, new_run
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    Effect,
    Propose,
)
from actors.process_supervisor.machine.step import step

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


CLAIM = TransitionId("0b1e4a6e-1111-4222-8333-444455556666")


ENGINE = JobSummary(command="python -m prefect.engine")


RUNNER = JobSummary(
    command="prefect flow-run execute",
    is_engine=False,
    uses_runner=True,
    limits=Limits(grace_seconds=5),
)


COMMAND = JobSummary(command="true", is_engine=False)


E = TypeVar("E")


def state(type_: StateType, message: str | None = None) -> State:
    return State(type=type_, name=type_.title(), message=message)


PENDING = replace(
    state(StateType.PENDING),
    details={"scheduled_time": NOW.isoformat(), "transition_id": CLAIM},
)


COMPLETED = state(StateType.COMPLETED)


CANCELLING = state(StateType.CANCELLING, message="enough")


class ScriptedRun:
    """A run and everything it asked for so far."""

    def __init__(self, run: Run | None = None) -> None:
        flow_run = FlowRun(
            id=FlowRunId("f" * 8),
            name="bold-boa",
            flow_id=FlowId("1"),
            state=state(StateType.SCHEDULED),
        )
        self.run = run or new_run(flow_run, worker="w", transition=CLAIM)
        self.now = NOW
        self.effects: list[Effect] = []

    def after(self, *stimuli: on.Stimulus) -> ScriptedRun:
        for stimulus in stimuli:
            self.run, effects = step(self.run, stimulus, now=self.now)
            self.effects += effects
        return self

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def proposed(self) -> list[tuple[StateType, bool]]:
        return [(e.proposal.type, e.proposal.force) for e in self.all(Propose)]

    def answer(self, verdict: Verdict) -> ScriptedRun:
        return self.after(on.Answered(proposal=self.last_proposal(), verdict=verdict))

    def last_proposal(self) -> Proposal:
        return self.all(Propose)[-1].proposal

    def phase(self) -> Phase:
        return self.run.record.phase

    def claimed(self) -> ScriptedRun:
        return self.after(on.Begun()).answer(Accepted(state=PENDING))

    def running(self, job: JobSummary = ENGINE) -> ScriptedRun:
        self.claimed().after(on.Prepared(job=job, related=()))
        return self.after(on.Spawned(pid=42))

    def exited(self, code: int | None, *, reported: str | None = None) -> ScriptedRun:
        status = ExitStatus(code=code, reported=reported)
        return self.after(on.Exited(status=status, tail=("last words",)))

    def gone(self) -> ScriptedRun:
        return self.after(TreeEnded(key=self.run.record.key))
