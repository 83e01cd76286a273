"""What survives the worker comes back as it was; what is broken is put aside, not in the way."""

from __future__ import annotations

import asyncio
import errno
import json
import os
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
from actors.domain.record import JobSummary, Limits, Phase, Reason, RunRecord
from actors.domain.run import new_run
from actors.journal.state_folder import StateFolder
from tests.support.builders import a_run
from tests.support.journals import journal_on
from tests.support.on_loop import on_loop


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
        job=JobSummary(
            command="python x.py", working_dir="/tmp", limits=Limits(timeout_seconds=2.5)
        ),
        related=({"prefect.resource.id": "x"},),
        started_at=datetime(2030, 1, 1, 12, 30, 0, 123, tzinfo=UTC),
        pid=77,
        exit=ExitStatus(code=-9),
        reason=Reason.OUT_OF_MEMORY_LIMIT,
        cancelling=State(type=StateType.CANCELLING, name="Cancelling", details={"a": [1, None]}),
        report=Proposal(type=StateType.CRASHED, name="Crashed", transition_id=new_transition_id()),
    )


@on_loop
async def test_a_record_comes_back_as_it_was(state: StateFolder) -> None:
    record = a_full_record()
    async with journal_on(state) as first:
        journal: Journal = first
        await journal.save(a_record("another"))
        await journal.save(replace(record, pid=None))
        await journal.save(record)
    async with journal_on(state) as again:
        assert record in await again.open_records()
        assert len(await again.open_records()) == 2
        assert await again.record(record.key) == record


@on_loop
async def test_a_settled_claim_is_not_open(state: StateFolder) -> None:
    record = a_record()
    async with journal_on(state) as journal:
        await journal.save(record)
        settled = replace(record, phase=Phase.OVER, reason=Reason.EXITED)
        await journal.close(settled)
        assert await journal.open_records() == []
        assert await journal.record(record.key) == settled
    assert (state.runs / record.key / "settled").exists()


@on_loop
async def test_of_a_claim_that_never_became_a_run_nothing_is_kept(state: StateFolder) -> None:
    """Somebody else was faster: there is no end that anybody could want to look up."""
    record, other = a_record(), a_record("other")
    async with journal_on(state) as journal:
        for one in (record, other):
            await journal.save(one)
        await journal.close(replace(record, phase=Phase.OVER))
        assert await journal.record(record.key) is None
    assert [folder.name for folder in state.runs.iterdir()] == [other.key]


@on_loop
async def test_a_folder_without_a_record_is_no_claim(state: StateFolder) -> None:
    async with journal_on(state) as journal:
        await journal.folder(ClaimKey("r.1"))
        (state.runs / "file").touch()
        assert await journal.open_records() == []
        assert await journal.record(ClaimKey("r.1")) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": 0}', '{"format": 1, "record": {"key": 3}}', "\0"]
)
@on_loop
async def test_a_corrupt_record_is_put_aside_and_the_others_come_back(
    state: StateFolder, content: str
) -> None:
    broken, good = a_record("broken"), replace(a_record("good"), phase=Phase.PREPARING)
    async with journal_on(state) as journal:
        for record in (broken, good):
            await journal.save(replace(record, phase=Phase.PREPARING))
        path = state.runs / broken.key / "run.json"
        path.write_text(content)
        assert await journal.open_records() == [good]
    assert not path.exists()
    assert path.with_name("run.json.corrupt").read_text() == content


@on_loop
async def test_a_newer_format_is_refused_in_words(state: StateFolder) -> None:
    record = a_record()
    async with journal_on(state) as journal:
        await journal.save(record)
        path = state.runs / record.key / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
        with pytest.raises(StateFolderError, match="Update the worker"):
            await journal.open_records()


@on_loop
async def test_records_are_for_their_owner_only(state: StateFolder) -> None:
    record = a_full_record()
    async with journal_on(state) as journal:
        await journal.close(record)
    folder = state.runs / record.key
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600] * 2


@on_loop
async def test_a_record_that_cannot_be_written_is_said_in_words_and_costs_no_other(
    state: StateFolder,
) -> None:
    record, other = a_record(), a_record("other")
    (state.runs / record.key).touch()
    async with journal_on(state) as journal:
        saves = (journal.save(record), journal.save(other))
        refused, saved = await asyncio.gather(*saves, return_exceptions=True)
        assert isinstance(refused, StateFolderError)
        assert "Make room" in str(refused)
        assert saved is None
        assert await journal.open_records() == [other]


@pytest.mark.parametrize("what", ["folder", "name"])
@on_loop
async def test_a_disk_without_synchronization_is_said_in_words(
    state: StateFolder, what: str
) -> None:
    """EIO: what was to be written may be lost, so it does not count as saved."""

    def fails(path: str) -> None:
        if (path == str(state.runs)) == (what == "folder"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    async with journal_on(state, sync=fails) as journal:
        with pytest.raises(StateFolderError, match="Input/output error"):
            await journal.save(a_record())
