"""What a worker resumes of what its predecessor has left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.dispatcher.takeover import within_limit
from actors.domain.ids import TransitionId
from actors.domain.record import Phase
from actors.domain.run import Run, new_run
from tests.support.builders import a_run

CLAIM = TransitionId("0b1e4a6e-1111-4222-8333-444455556666")


def recorded(phase: Phase) -> Run:
    record = new_run(a_run(), worker="w", transition=CLAIM).record
    return Run.from_record(replace(record, phase=phase))


@pytest.mark.parametrize(
    ("slots_free", "given_up"), [(None, 0), (3, 0), (2, 1), (1, 2), (0, 2), (-1, 2)]
)
def test_what_has_no_process_and_no_slot_is_given_back(
    slots_free: int | None, given_up: int
) -> None:
    phases = [Phase.CLAIMING, Phase.RUNNING, Phase.REPORTING, Phase.PREPARING]
    resumed = within_limit(map(recorded, phases), slots_free)
    assert len(resumed) == len(phases)
    gone = {run.record.phase for run in resumed if run.to_give_back}
    assert len(gone) == given_up
    assert gone <= {Phase.CLAIMING, Phase.PREPARING}
