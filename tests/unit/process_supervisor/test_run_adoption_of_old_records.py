"""What a successor makes of a record that is older than what the keeper knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from actors.domain.ids import ClaimKey, TransitionId, claim_key
from actors.domain.model import Accepted, State, StateType
from actors.domain.process import ExitStatus
from actors.domain.record import JobSummary, Phase, Reason
from actors.domain.run import CancelRun, EndRun, Run, found_run, new_run
from actors.domain.worker_events import EventKind
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    CheckState,
    Effect,
    Emit,
    EndTree,
    PrepareJob,
    Propose,
    Spawn,
)
from actors.process_supervisor.machine.step import step
from tests.support.builders import a_run

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CLAIM = TransitionId("0b1e4a6e-1111-4222-8333-444455556666")
CANCELLING = State(type=StateType.CANCELLING, name="Cancelling")
PENDING = State(
    type=StateType.PENDING, name="Pending", details={"scheduled_time": NOW.isoformat()}
)


def after(run: Run, *stimuli: on.Stimulus) -> tuple[Run, list[Effect]]:
    effects: list[Effect] = []
    for stimulus in stimuli:
        run, more = step(run, stimulus, now=NOW)
        effects += more
    return run, effects


def claimed() -> Run:
    run, effects = after(new_run(a_run(), worker="w", transition=CLAIM), on.Begun())
    asked = next(e.proposal for e in effects if isinstance(e, Propose))
    return after(run, on.Answered(proposal=asked, verdict=Accepted(state=PENDING)))[0]


def spawning() -> Run:
    return after(claimed(), on.Prepared(job=JobSummary(command="make"), related=()))[0]


@pytest.mark.parametrize("old", [new_run(a_run(), worker="w", transition=CLAIM), claimed()])
def test_a_process_is_believed_before_a_record_that_a_full_disk_did_not_take(old: Run) -> None:
    run, effects = after(Run.from_record(old.record), on.Adopted(pid=9))
    assert run.record.phase is Phase.RUNNING
    assert not [e for e in effects if isinstance(e, Spawn | PrepareJob | Propose)]


@pytest.mark.parametrize(
    ("wanted", "outcome"),
    [
        (CancelRun(state=CANCELLING), StateType.CANCELLED),
        (EndRun(reason=Reason.WORKER_STOPPED), StateType.CRASHED),
    ],
)
def test_what_was_to_end_before_it_was_spawned_is_not_spawned_again(
    wanted: on.Stimulus, outcome: StateType
) -> None:
    old, _ = after(spawning(), wanted)
    _, effects = after(Run.from_record(old.record), on.Adopted(pid=None))
    assert [e.proposal.type for e in effects if isinstance(e, Propose)] == [outcome]
    assert not [e for e in effects if isinstance(e, PrepareJob)]


def prepared_again() -> tuple[Run, list[Effect]]:
    """A successor's, of what was about to be spawned."""
    run = Run.from_record(spawning().record)
    ready = on.Prepared(job=JobSummary(command="make"), related=())
    return after(run, on.Adopted(pid=None), ready)


def test_what_a_predecessor_began_is_looked_at_before_it_is_spawned() -> None:
    """A full disk may have kept back that it was given up."""
    run, effects = prepared_again()
    assert [e for e in effects if isinstance(e, CheckState)]
    assert not [e for e in effects if isinstance(e, Spawn)]
    ours = replace(PENDING, details={"transition_id": CLAIM})
    assert [e for e in after(run, on.StateSeen(state=ours))[1] if isinstance(e, Spawn)]


@pytest.mark.parametrize(
    "seen",
    [
        State(type=StateType.CRASHED, name="Crashed"),
        replace(PENDING, details={"transition_id": "somebody else's claim"}),
        None,
    ],
)
def test_what_is_not_pending_by_our_claim_any_more_is_not_spawned(seen: State | None) -> None:
    run, effects = after(prepared_again()[0], on.StateSeen(state=seen))
    assert not [e for e in effects if isinstance(e, Spawn | Propose)]
    assert run.is_over


def test_what_was_spawning_when_the_machine_was_restarted_is_over() -> None:
    old, _ = after(spawning(), CancelRun(state=CANCELLING))
    run, effects = after(Run.from_record(old.record), on.Adopted(pid=9, rebooted=True))
    assert run.record.phase is Phase.REPORTING
    assert not [e for e in effects if isinstance(e, EndTree)]


def test_cancelling_a_command_that_is_over_and_reported_nothing_is_answered() -> None:
    command = JobSummary(command="make", is_engine=False)
    run, _ = after(claimed(), on.Prepared(job=command, related=()), on.Spawned(pid=9))
    run, _ = after(run, on.Exited(status=ExitStatus(code=0)))
    _, effects = after(run, CancelRun(state=CANCELLING))
    assert [e.proposal.type for e in effects if isinstance(e, Propose)] == [StateType.CANCELLED]


def test_of_a_found_run_the_outcome_is_not_guessed() -> None:
    """Whether its command or the worker had to report its end is lost with its record."""
    run = found_run(claim_key(a_run().id, CLAIM), worker="w")
    run, _ = after(run, on.Adopted(pid=9))
    _, effects = after(run, on.Exited(status=ExitStatus(code=0)))
    asked = [e.proposal for e in effects if isinstance(e, Propose)]
    assert [p.type for p in asked] == [StateType.CRASHED]
    assert "record" in (asked[0].message or "")


def test_a_found_run_has_the_key_it_was_found_under_and_the_same_ids_each_time() -> None:
    key = ClaimKey("run-id.0b1e4a6e")
    first, second = (found_run(key, worker="w").record for _ in range(2))
    assert first == second
    assert claim_key(first.run.id, first.claim) == key == first.key


def over() -> Run:
    """Its exit is recorded; whether the effects that follow were carried out is not."""
    return after(
        spawning(),
        on.Spawned(pid=9),
        CancelRun(state=CANCELLING),
        on.Exited(status=ExitStatus(code=-15)),
    )[0]


def events(effects: list[Effect]) -> list[EventKind]:
    return [effect.kind for effect in effects if isinstance(effect, Emit)]


def test_an_exit_whose_event_may_be_lost_is_an_event_again() -> None:
    _, effects = after(Run.from_record(over().record), on.Adopted(pid=9))
    assert events(effects) == [EventKind.EXECUTED]


@pytest.mark.parametrize(
    ("seen", "expected"), [("CANCELLED", [EventKind.CANCELLED]), ("COMPLETED", [])]
)
def test_a_cancellation_whose_event_may_be_lost_is_an_event_again(
    seen: str, expected: list[EventKind]
) -> None:
    cancelled = State(type=StateType.CANCELLED, name="Cancelled")
    old = over()
    assert old.record.report is not None
    old, _ = after(old, on.Answered(proposal=old.record.report, verdict=Accepted(state=cancelled)))
    run, _ = after(Run.from_record(old.record), on.Adopted(pid=9))
    state = State(type=StateType(seen), name=seen.title())
    assert events(after(run, on.StateSeen(state=state))[1]) == expected
