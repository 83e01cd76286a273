"""Effects wait for the record of their step, whatever else happens, and keep their order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.domain.ids import new_transition_id
from actors.domain.record import Phase, Reason, RunRecord
from actors.domain.run import new_run
from actors.process_supervisor.journaling import RecordKeeping, Step
from actors.process_supervisor.machine.effects import (
    AddLabels,
    Effect,
    FreeSlot,
    PrepareJob,
    Propose,
    Spawn,
)
from actors.process_supervisor.machine.proposals import claim
from tests.support.builders import a_run

RECORD = new_run(a_run(), worker="w", transition=new_transition_id()).record
PREPARING = replace(RECORD, phase=Phase.PREPARING)
SPAWNING = replace(RECORD, phase=Phase.SPAWNING)
RUNNING = replace(RECORD, phase=Phase.RUNNING)
CLAIM = Propose(proposal=claim(RECORD))


def effects_of(steps: list[Step]) -> list[Effect]:
    return [effect for step in steps for effect in step.effects]


def stepped(keeping: RecordKeeping, record: RunRecord, *effects: Effect) -> list[Effect]:
    return effects_of(keeping.stepped(record, effects, is_news=True))


def saved(keeping: RecordKeeping, *, succeeded: bool = True) -> list[Effect]:
    return effects_of(keeping.save_ended(succeeded=succeeded))


def test_effects_wait_until_their_record_is_saved() -> None:
    keeping = RecordKeeping()
    assert stepped(keeping, RECORD, CLAIM) == []
    assert keeping.next_save() == RECORD
    seen = [keeping.is_saved]
    assert saved(keeping) == [CLAIM]
    seen.append(keeping.is_saved)
    assert seen == [False, True]
    assert keeping.next_save() is None


def test_steps_made_during_a_save_share_the_next_and_keep_their_order() -> None:
    keeping = RecordKeeping()
    stepped(keeping, RECORD, CLAIM)
    keeping.next_save()
    assert stepped(keeping, PREPARING, PrepareJob()) == []
    assert keeping.next_save() is None  # one at a time
    assert stepped(keeping, SPAWNING, Spawn()) == []
    assert saved(keeping) == [CLAIM]
    assert keeping.next_save() == SPAWNING
    assert saved(keeping) == [PrepareJob(), Spawn()]


def test_a_job_is_prepared_while_its_record_is_saved() -> None:
    keeping = RecordKeeping()
    assert stepped(keeping, PREPARING, PrepareJob()) == [PrepareJob()]
    assert keeping.next_save() == PREPARING
    assert stepped(keeping, SPAWNING, Spawn()) == []
    assert saved(keeping) == []
    assert keeping.next_save() == SPAWNING
    assert saved(keeping) == [Spawn()]


def test_what_needs_no_record_does_not_overtake_what_does() -> None:
    keeping = RecordKeeping()
    stepped(keeping, RECORD, CLAIM)
    keeping.next_save()
    assert keeping.stepped(RECORD, [FreeSlot()], is_news=False) == []
    assert saved(keeping) == [CLAIM, FreeSlot()]
    assert effects_of(keeping.stepped(RECORD, [FreeSlot()], is_news=False)) == [FreeSlot()]


def test_a_save_that_fails_costs_no_effect() -> None:
    keeping = RecordKeeping()
    stepped(keeping, RECORD, CLAIM)
    keeping.next_save()
    assert saved(keeping, succeeded=False) == [CLAIM]
    assert not keeping.is_saved


@pytest.mark.parametrize("must_wait", [CLAIM, Spawn()], ids=["claim", "start"])
def test_a_late_save_keeps_claims_and_starts_waiting_with_all_that_follows(
    must_wait: Effect,
) -> None:
    keeping = RecordKeeping()
    stepped(keeping, SPAWNING, must_wait)
    record = keeping.next_save()
    assert record is not None
    assert effects_of(keeping.save_is_late(record)) == []
    assert stepped(keeping, RUNNING, FreeSlot()) == []
    assert saved(keeping) == [must_wait]
    assert keeping.next_save() == RUNNING


def test_a_late_save_keeps_nothing_else_waiting_and_is_made_good() -> None:
    keeping = RecordKeeping()
    stepped(keeping, PREPARING, AddLabels())
    record = keeping.next_save()
    assert record is not None
    assert effects_of(keeping.save_is_late(record)) == [AddLabels()]
    assert stepped(keeping, RUNNING, FreeSlot()) == [FreeSlot()]
    seen = [keeping.is_saved]
    assert saved(keeping) == []
    seen.append(keeping.is_saved)  # an old record is there
    assert keeping.next_save() == RUNNING
    assert saved(keeping) == []
    seen.append(keeping.is_saved)
    assert seen == [False, False, True]


def test_the_bell_of_a_save_that_is_over_rings_for_no_other() -> None:
    keeping = RecordKeeping()
    stepped(keeping, PREPARING, AddLabels())
    former = keeping.next_save()
    assert former is not None
    saved(keeping)
    stepped(keeping, RUNNING, FreeSlot())
    keeping.next_save()
    assert keeping.save_is_late(former) == []


def test_a_start_that_is_withdrawn_lets_the_rest_go() -> None:
    keeping = RecordKeeping()
    stepped(keeping, SPAWNING, FreeSlot(), Spawn())
    record = keeping.next_save()
    assert record is not None
    keeping.save_is_late(record)
    assert stepped(keeping, replace(SPAWNING, reason=Reason.CANCELLED)) == []
    assert keeping.withdraw(Spawn)
    assert not keeping.withdraw(Spawn)
    assert stepped(keeping, RUNNING, PrepareJob()) == [FreeSlot(), PrepareJob()]
