"""A disk that is slow or stuck, and the event loop that must not wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actors.domain.ids import new_transition_id
from actors.domain.record import Phase, RunRecord
from actors.domain.run import new_run
from actors.journal.journal import MAX_SURE
from actors.journal.state_folder import StateFolder
from actors.keeper import files
from tests.support.builders import a_run
from tests.support.journals import journal_on
from tests.support.on_loop import on_loop

PATIENCE_SECONDS = 60.0
CLAIMS = 200


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path)
    state.prepare()
    return state


def a_record(run: str = "run-id", phase: Phase = Phase.CLAIMING) -> RunRecord:
    record = new_run(a_run(run), worker="w", transition=new_transition_id()).record
    return replace(record, phase=phase)


class Disk:
    """Synchronizes when it is let; ``synced`` are the paths that it was asked for, in order."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self._answers = threading.Event()
        self._asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def sync(self, path: str) -> None:
        """What the journal calls, in its thread."""
        self.synced.append(path)
        self._loop.call_soon_threadsafe(self._asked.set)
        assert self._answers.wait(PATIENCE_SECONDS)
        files.sync(path)

    async def asked(self) -> None:
        """Return when a thread waits for it."""
        await asyncio.wait_for(self._asked.wait(), PATIENCE_SECONDS)

    def answer(self) -> None:
        """Answer from now on."""
        self._answers.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - a fact that nobody tells
            await asyncio.sleep(0.001)


@on_loop
async def test_claims_that_come_together_share_the_synchronization_of_their_common_folder(
    state: StateFolder,
) -> None:
    disk = Disk()
    disk.answer()
    records = [a_record(f"run-{number}") for number in range(CLAIMS)]
    async with journal_on(state, sync=disk.sync) as journal:
        await asyncio.gather(*(journal.save(record) for record in records))
        assert {record.key for record in await journal.open_records()} == {
            record.key for record in records
        }
    times = Counter(disk.synced)
    assert times[str(state.runs)] == CLAIMS / MAX_SURE
    assert all(times[str(state.runs / record.key)] == 1 for record in records)


@on_loop
async def test_the_loop_turns_while_the_disk_is_stuck(state: StateFolder) -> None:
    disk = Disk()
    async with journal_on(state, sync=disk.sync) as journal:
        saving = asyncio.create_task(journal.save(a_record()))
        await disk.asked()
        await asyncio.sleep(0)
        assert not saving.done()
        checking = asyncio.create_task(journal.check())
        tail = await journal.output_tail(a_record().key, 10)
        assert tail == ()
        assert not checking.done()  # so nothing is claimed
        disk.answer()
        await saving
        await checking


@on_loop
async def test_a_stuck_disk_is_said_once_and_that_it_answers_again(state: StateFolder) -> None:
    disk = Disk()
    with capture_logs() as logs:
        async with journal_on(state, sync=disk.sync, stuck_seconds=0.0) as journal:
            saves = [asyncio.create_task(journal.save(a_record(f"run-{n}"))) for n in range(3)]
            await disk.asked()
            saves.append(asyncio.create_task(journal.save(a_record("late"))))
            await until(lambda: bool(logs))
            disk.answer()
            await asyncio.gather(*saves)
    said = [line["event"] for line in logs]
    assert said[0] == "journal.stuck"
    assert said.count("journal.stuck") == said.count("journal.answers_again")


@on_loop
async def test_what_need_not_be_sure_waits_for_one_batch_of_claims_not_for_all(
    state: StateFolder,
) -> None:
    disk = Disk()
    order: list[str] = []

    async def save(record: RunRecord) -> None:
        await journal.save(record)
        order.append(record.phase)

    async with journal_on(state, sync=disk.sync) as journal:
        claims = [save(a_record(f"run-{number}")) for number in range(3 * MAX_SURE)]
        ending = save(a_record("ending", Phase.RUNNING))
        saves = asyncio.gather(*claims, ending)
        await disk.asked()
        disk.answer()
        await saves
    assert order.index(Phase.RUNNING) < 2 * MAX_SURE


@on_loop
async def test_records_of_a_claim_are_written_in_order_whether_or_not_anybody_waits(
    state: StateFolder,
) -> None:
    disk = Disk()
    first = a_record()
    async with journal_on(state, sync=disk.sync) as journal:
        others = [asyncio.create_task(journal.save(a_record(f"run-{n}"))) for n in range(3)]
        await disk.asked()
        saves = [
            asyncio.create_task(journal.save(replace(first, phase=phase)))
            for phase in (Phase.CLAIMING, Phase.PREPARING, Phase.RUNNING)
        ]
        await asyncio.sleep(0)
        for save in saves:
            save.cancel()
        reading = asyncio.create_task(journal.record(first.key))
        await asyncio.sleep(0)
        disk.answer()
        await asyncio.gather(*others)
        assert await reading == replace(first, phase=Phase.RUNNING)


@on_loop
async def test_the_end_writes_what_is_waiting(state: StateFolder) -> None:
    disk = Disk()
    disk.answer()
    record = a_record()
    async with journal_on(state, sync=disk.sync) as journal:
        saving = asyncio.create_task(journal.save(record))
        await asyncio.sleep(0)
    await saving
    async with journal_on(state) as journal:
        assert await journal.open_records() == [record]
