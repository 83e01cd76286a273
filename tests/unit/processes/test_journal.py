"""What survives the worker comes back as it was; what is broken is put aside, not in the way."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.domain.errors import StateFolderError
from actors.domain.ids import ClaimKey, new_transition_id
from actors.domain.model import Proposal, State, StateType
from actors.domain.ports import Journal
from actors.domain.process import ExitStatus
from actors.domain.record import JobNote, Limits, Phase, Reason, RunRecord
from actors.domain.run import new_run
from actors.processes.journal import FolderJournal
from actors.processes.state_folder import StateFolder
from tests.support.builders import a_run


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path)
    state.prepare()
    return state


def a_record(run: str = "run-id") -> RunRecord:
    return new_run(a_run(run), worker="w", transition=new_transition_id()).record


def a_full_record() -> RunRecord:
    return replace(
        a_record(),
        phase=Phase.REPORTING,
        job=JobNote(command="python x.py", working_dir="/tmp", limits=Limits(timeout_seconds=2.5)),
        related=({"prefect.resource.id": "x"},),
        started_at=datetime(2030, 1, 1, 12, 30, 0, 123, tzinfo=UTC),
        pid=77,
        exit=ExitStatus(code=-9, ended_at=1.5, max_rss_bytes=3),
        reason=Reason.OUT_OF_MEMORY_LIMIT,
        cancelling=State(type=StateType.CANCELLING, name="Cancelling", details={"a": [1, None]}),
        report=Proposal(type=StateType.CRASHED, name="Crashed", transition_id=new_transition_id()),
    )


def test_a_record_comes_back_as_it_was(state: StateFolder) -> None:
    journal: Journal = FolderJournal(state)
    record = a_full_record()
    journal.save(a_record("another"))
    journal.save(replace(record, pid=None))
    journal.save(record)
    again: Journal = FolderJournal(state)
    assert record in again.open_records()
    assert len(again.open_records()) == 2


def test_a_settled_claim_is_not_open(state: StateFolder) -> None:
    journal = FolderJournal(state)
    record = a_record()
    journal.save(record)
    journal.close(replace(record, phase=Phase.OVER, reason=Reason.EXITED))
    assert journal.open_records() == []
    assert (state.runs / record.key / "settled").exists()


def test_of_a_claim_that_never_became_a_run_nothing_is_kept(state: StateFolder) -> None:
    """Somebody else was faster: there is no end that anybody could want to look up."""
    journal = FolderJournal(state)
    record, other = a_record(), a_record("other")
    for one in (record, other):
        journal.save(one)
    journal.close(replace(record, phase=Phase.OVER))
    assert [folder.name for folder in state.runs.iterdir()] == [other.key]


def test_a_folder_without_a_record_is_no_claim(state: StateFolder) -> None:
    journal = FolderJournal(state)
    journal.folder(ClaimKey("r.1"))
    (state.runs / "file").touch()
    assert journal.open_records() == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 0}', '{"format": 1, "record": {"key": 3}}', "\0"]
)
def test_a_corrupt_record_is_put_aside_and_the_others_come_back(
    state: StateFolder, content: str
) -> None:
    journal = FolderJournal(state)
    broken, good = a_record("broken"), a_record("good")
    for record in (broken, good):
        journal.save(replace(record, phase=Phase.PREPARING))
    good = replace(good, phase=Phase.PREPARING)
    path = state.runs / broken.key / "run.json"
    path.write_text(content)
    assert journal.open_records() == [good]
    assert not path.exists()
    assert path.with_name("run.json.corrupt").read_text() == content


def test_a_newer_format_is_refused_in_words(state: StateFolder) -> None:
    journal = FolderJournal(state)
    record = a_record()
    journal.save(record)
    path = state.runs / record.key / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(StateFolderError, match="Update the worker"):
        journal.open_records()


def test_records_are_for_their_owner_only(state: StateFolder) -> None:
    record = a_full_record()
    FolderJournal(state).close(record)
    folder = state.runs / record.key
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600] * 2


def test_a_record_that_cannot_be_written_is_said_in_words(state: StateFolder) -> None:
    record = a_record()
    (state.runs / record.key).touch()
    with pytest.raises(StateFolderError, match="Make room"):
        FolderJournal(state).save(record)
