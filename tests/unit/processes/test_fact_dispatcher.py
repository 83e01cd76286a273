"""Facts about a run come in order, even while the disk that holds its output is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.domain.process import OutputWritten, ProcessExited, ProcessFact, TreeEnded
from actors.keeper.output import path_of
from actors.keeper.output_reader import Piece
from actors.processes.fact_dispatcher import FactDispatcher
from tests.support.on_loop import on_loop

PATIENCE = 60.0
NEVER_STUCK = 60.0


class Facts:
    def __init__(self) -> None:
        self.told: list[ProcessFact] = []
        self._news = asyncio.Event()

    def __call__(self, fact: ProcessFact) -> None:
        self.told.append(fact)
        self._news.set()

    @property
    def words(self) -> list[object]:
        return [_word(fact) for fact in self.told]

    async def until(self, count: int) -> list[object]:
        async with asyncio.timeout(PATIENCE):
            while len(self.told) < count:
                self._news.clear()
                await self._news.wait()
        return self.words


def _word(fact: ProcessFact) -> object:
    match fact:
        case OutputWritten(lines=lines, dropped=dropped):
            return list(lines) or dropped
        case ProcessExited(status=status):
            return f"exit {status.code}"
        case TreeEnded():
            return "tree ended"


class StuckDisk:
    """Reads that do not end before ``answer`` is set."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.asked = asyncio.Event()
        self.reads = 0

    async def run(self, read: Callable[[], Piece]) -> Piece:
        self.reads += 1
        self.asked.set()
        await self.answer.wait()
        return await asyncio.to_thread(read)


def a_row(folder: Path, output: str = "", **fields: Any) -> dict[str, Any]:
    """The row of a run that has printed ``output``."""
    folder.mkdir(exist_ok=True)
    if output:
        Path(path_of(str(folder), 0)).write_text(output)
    row = {"key": folder.name, "folder": str(folder), "exit": None, "swept": False}
    return {**row, "position": len(output), "exit_position": 0, "leftovers": [], **fields}


def ended(row: dict[str, Any], *, swept: bool = True) -> dict[str, Any]:
    return {**row, "exit": {"code": 0}, "exit_position": row["position"], "swept": swept}


@on_loop
async def test_output_comes_before_the_exit_and_the_exit_before_the_end_of_the_tree(
    tmp_path: Path,
) -> None:
    facts, dispatcher = Facts(), FactDispatcher()
    row = a_row(tmp_path / "run", "one\ntwo\nthree")
    dispatcher.subscribe(ended({**row, "position": 8}) | {"position": 13}, facts)
    assert await facts.until(4) == [["one", "two"], "exit 0", ["three"], "tree ended"]


@on_loop
async def test_the_loop_does_not_wait_for_a_read(tmp_path: Path) -> None:
    facts, disk = Facts(), StuckDisk()
    dispatcher = FactDispatcher(disk.run, stuck_seconds=NEVER_STUCK)
    dispatcher.subscribe(a_row(tmp_path / "run", "one\n"), facts)
    await disk.asked.wait()
    assert facts.told == []
    disk.answer.set()
    assert await facts.until(1) == [["one"]]


@on_loop
async def test_an_exit_does_not_wait_for_a_stuck_read(tmp_path: Path) -> None:
    facts, disk = Facts(), StuckDisk()
    dispatcher = FactDispatcher(disk.run, stuck_seconds=0.01)
    row = a_row(tmp_path / "run", "one\n")
    dispatcher.subscribe(row, facts)
    await disk.asked.wait()
    dispatcher.update(ended(row, swept=False))
    assert await facts.until(2) == [4, "exit 0"]
    dispatcher.update(ended({**row, "position": 9}) | {"exit_position": 4})
    assert await facts.until(4) == [4, "exit 0", 5, "tree ended"]
    assert disk.reads == 1
    disk.answer.set()
    await dispatcher.finish()
    assert len(facts.told) == 4
    dispatcher.close()


@on_loop
async def test_a_stuck_read_of_one_run_does_not_hold_up_the_exit_of_another(
    tmp_path: Path,
) -> None:
    stuck, other, disk = Facts(), Facts(), StuckDisk()
    dispatcher = FactDispatcher(disk.run, stuck_seconds=0.01)
    dispatcher.subscribe(a_row(tmp_path / "stuck", "one\n"), stuck)
    dispatcher.subscribe(ended(a_row(tmp_path / "other", "two\n")), other)
    assert await other.until(3) == [4, "exit 0", "tree ended"]
    assert disk.reads == 1
    assert stuck.told == []
    disk.answer.set()  # the run that still lives gets all of its output
    assert await stuck.until(1) == [["one"]]
    await dispatcher.finish()
    dispatcher.close()


@on_loop
async def test_nothing_is_told_after_a_drop_although_a_read_was_under_way(tmp_path: Path) -> None:
    facts, disk = Facts(), StuckDisk()
    dispatcher = FactDispatcher(disk.run, stuck_seconds=NEVER_STUCK)
    row = a_row(tmp_path / "run", "one\n")
    dispatcher.subscribe(row, facts)
    await disk.asked.wait()
    dispatcher.drop(row["key"])
    disk.answer.set()
    await dispatcher.finish()
    assert facts.told == []


@on_loop
async def test_nothing_is_told_after_the_close_although_a_read_was_under_way(
    tmp_path: Path,
) -> None:
    facts, disk = Facts(), StuckDisk()
    dispatcher = FactDispatcher(disk.run, stuck_seconds=NEVER_STUCK)
    dispatcher.subscribe(a_row(tmp_path / "run", "one\n"), facts)
    await disk.asked.wait()
    dispatcher.close()
    disk.answer.set()
    await dispatcher.finish()
    assert facts.told == []


@on_loop
async def test_news_that_come_during_a_read_are_told(tmp_path: Path) -> None:
    facts, disk = Facts(), StuckDisk()
    dispatcher = FactDispatcher(disk.run, stuck_seconds=NEVER_STUCK)
    row = a_row(tmp_path / "run", "one\n")
    dispatcher.subscribe(row, facts)
    await disk.asked.wait()
    dispatcher.update(ended(row))
    disk.answer.set()
    assert await facts.until(3) == [["one"], "exit 0", "tree ended"]
