"""Output: bounded on disk, told in order, and never in the run's way."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from actors.journal.state_folder import StateFolder
from actors.keeper.output_reader import tail
from tests.integration.keeper.kit import Facts, Gate, embedded, on_loop, python, shell

MEGABYTE = 1024 * 1024


@on_loop
async def test_two_hundred_megabytes_stay_bounded_and_keep_their_ends(state: StateFolder) -> None:
    script = "head -c 209715200 /dev/zero | tr '\\0' 'x' | fold -w 99; echo; echo the end"
    wanted = replace(shell(state, f"echo the start; {script}"), max_output_bytes=MEGABYTE)
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        assert (await facts.exited()).code == 0
        [kept] = await launcher.table()
        assert kept.output_bytes > 200 * MEGABYTE
        assert MEGABYTE // 2 < size_on_disk(wanted.folder) <= MEGABYTE
        assert (facts.lines[0], facts.lines[-1]) == ("the start", "the end")
        assert facts.dropped > 0
        told = sum(len(line) + 1 for line in facts.lines)
        assert told + facts.dropped == pytest.approx(kept.output_bytes, rel=0.01)
        assert tail(wanted.folder, 1) == ("the end",)


def size_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in output_files(folder))


def output_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("output-*"))


@on_loop
async def test_lines_are_told_in_the_order_they_were_printed(state: StateFolder) -> None:
    script = "for i in range(20000): print('line', i, flush=i % 7 == 0)"
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(python(state, script), facts)
        await facts.exited()
        assert facts.lines == [f"line {number}" for number in range(20000)]
        assert facts.dropped == 0


@on_loop
async def test_what_is_printed_is_told_while_the_run_goes_on(
    state: StateFolder, gate: Gate
) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(shell(state, f"echo early; read x < {gate.path}; echo late"), facts)
        await facts.line("early")
        assert facts.lines == ["early"]
        gate.open()
        await facts.exited()
        assert facts.lines == ["early", "late"]


@on_loop
async def test_a_run_that_may_keep_nothing_runs_all_the_same(state: StateFolder) -> None:
    wanted = replace(shell(state, "echo lost; exit 3"), max_output_bytes=0)
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        assert (await facts.exited()).code == 3
        assert (facts.lines, facts.dropped) == ([], len("lost\n"))
        assert output_files(wanted.folder) == []


@on_loop
async def test_a_folder_that_takes_nothing_costs_output_and_not_the_run(
    state: StateFolder, gate: Gate
) -> None:
    """The disk is full or read-only: here, the folder is gone."""
    loud = "for i in range(20000): print('x' * 99)\n"
    script = f"print('up', flush=True); open('{gate.path}').readline()\n{loud}raise SystemExit(5)"
    async with embedded(state) as launcher:
        facts, wanted = Facts(), python(state, script)
        await launcher.spawn(wanted, facts)
        await facts.line("up")
        await asyncio.to_thread(os.rename, wanted.folder, wanted.folder.with_suffix(".away"))
        gate.open()
        assert (await facts.exited()).code == 5
        assert facts.dropped > 0


@on_loop
async def test_bytes_that_are_no_text_are_replaced(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(shell(state, r"printf 'a\377b\n\303\244\r\n'"), facts)
        await facts.exited()
        assert facts.lines == ["a\ufffdb", "ä"]
