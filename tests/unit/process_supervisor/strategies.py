"""What may happen to a run, for hypothesis to choose from."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from actors.domain.model import Aborted, Accepted, Rejected, State, StateType, Wait
from actors.domain.process import ExitStatus
from actors.domain.record import JobSummary, Limits, Reason

START = datetime(2030, 1, 1, tzinfo=UTC)
jobs = st.builds(
    JobSummary,
    command=st.just("make"),
    is_engine=st.booleans(),
    uses_runner=st.sampled_from((False, False, False, True)),
    report_states=st.booleans(),
    hooks_seconds=st.sampled_from((None, 60.0)),
    limits=st.builds(Limits, timeout_seconds=st.sampled_from((None, 5.0))),
)
states = st.builds(
    lambda type_, details: State(type=type_, name=type_.title(), details=details),
    st.sampled_from(StateType),
    st.sampled_from(({"scheduled_time": START.isoformat()}, {})),
)
verdicts = st.one_of(
    states.map(lambda state: Accepted(state=state)),
    states.map(lambda state: Rejected(state=state)),
    st.one_of(st.none(), states).map(lambda state: Aborted(state=state)),
    st.just(Wait(delay_seconds=3.0)),
)

WISHES = (Reason.TIMED_OUT, Reason.WORKER_STOPPED, Reason.OUT_OF_MEMORY_LIMIT)
statuses = st.builds(
    ExitStatus,
    code=st.sampled_from((0, 1, -9, -15, 137, None)),
    reported=st.sampled_from((None, None, None, "Completed")),
)
leftovers = st.integers(0, 2).map(lambda n: tuple((pid, "sleep") for pid in range(n)))
