"""Output between pipe, disk and lines: bounded, in order, every byte kept or counted."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.keeper.output import Output, list_segments, path_of
from actors.keeper.output_reader import MAX_LINE, LineSplitter, OutputReader, tail

PIPE = 65536


@contextlib.contextmanager
def piped(folder: Path, max_bytes: int, **options: Any) -> Iterator[tuple[Output, int]]:
    """An output of ``folder`` and the descriptor that its run writes to."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    output = Output(str(folder), max_bytes, reading, **options)
    try:
        yield output, writing
    finally:
        output.close_pipe()
        os.close(writing)


def stream_of(number: int) -> bytes:
    """Bytes in which every position can be told from its neighbours."""
    return (b"%08d\n" * (number // 9 + 1) % tuple(range(number // 9 + 1)))[:number]


@given(st.integers(0, 3000), st.lists(st.integers(1, 400), max_size=30))
def test_the_bound_holds_and_head_and_end_are_kept(bound: int, sizes: list[int]) -> None:
    written = stream_of(sum(sizes))
    with tempfile.TemporaryDirectory() as name, piped(Path(name), bound) as (output, writing):
        at = 0
        for size in sizes:
            os.write(writing, written[at : at + size])
            at += size
            assert output.pump()
            on_disk = list_segments(name)
            assert sum(segment.size for segment in on_disk) <= bound
            assert output.position == at
            for segment in on_disk:
                kept = Path(segment.path).read_bytes()
                assert kept == written[segment.start : segment.end]
        if at <= bound // 4:
            assert sum(segment.size for segment in list_segments(name)) == at
        elif bound >= 8:
            head, *_, last = list_segments(name)
            assert (head.start, head.end, last.end) == (0, bound // 4, at)


@given(st.integers(0, 2000), st.lists(st.integers(0, 400), max_size=20), st.randoms())
def test_a_reader_that_keeps_up_gets_everything_and_a_late_one_is_told_what_it_missed(
    bound: int, sizes: list[int], chance: Random
) -> None:
    written = stream_of(sum(sizes))
    with tempfile.TemporaryDirectory() as name, piped(Path(name), bound) as (output, writing):
        reader, told, dropped, at = OutputReader(Path(name)), 0, 0, 0
        for size in sizes:
            if size:
                os.write(writing, written[at : at + size])
            at += size
            output.pump()
            while chance.random() < 0.7 and reader.position < output.position:
                piece = reader.read(output.position)
                dropped += piece.dropped
                told += sum(len(line) for line in piece.lines)
        while reader.position < output.position:
            piece = reader.read(output.position)
            dropped += piece.dropped
            told += sum(len(line) for line in piece.lines)
        piece = reader.finish()
        dropped += piece.dropped
        told += sum(len(line) for line in piece.lines)
        assert told + dropped <= at
        if dropped == 0:
            assert told == len(written.replace(b"\n", b""))


def test_a_disk_that_refuses_costs_bytes_and_blocks_nothing(tmp_path: Path) -> None:
    with piped(tmp_path / "missing", 1000) as (output, writing):
        for _ in range(3):
            os.write(writing, b"x" * PIPE)
            assert output.pump()
        assert output.position == 3 * PIPE


def test_what_follows_a_refusal_is_kept_with_a_gap_before_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "late"
    with piped(folder, 1000, retry_seconds=0.0) as (output, writing):
        os.write(writing, b"lost")
        output.pump()
        folder.mkdir()
        os.write(writing, b"kept")
        output.pump()
    assert [(segment.start, segment.size) for segment in list_segments(str(folder))] == [(4, 4)]
    reader = OutputReader(folder)
    assert reader.read(8).lines == ()
    assert reader.read(8).dropped == 4
    assert reader.finish().lines == ("kept",)


def test_the_end_of_the_stream_is_told(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    output = Output(str(tmp_path), 1000, reading)
    os.write(writing, b"last")
    os.close(writing)
    assert not output.pump()
    output.close_pipe()
    assert output.position == 4


def test_the_next_keeper_goes_on_where_the_former_one_was(tmp_path: Path) -> None:
    with piped(tmp_path, 1000) as (output, writing):
        os.write(writing, b"first")
        output.pump()
    Path(path_of(str(tmp_path), 5)).touch()  # a segment begun and never written to
    with piped(tmp_path, 1000) as (output, writing):
        assert output.position == 5
        os.write(writing, b"second")
        output.pump()
    assert tail(tmp_path, 5) == ("firstsecond",)


@given(st.text(), st.data())
def test_lines_do_not_depend_on_the_cuts(text: str, data: st.DataObject) -> None:
    stream = text.encode("utf-8", "surrogatepass")
    whole = LineSplitter()
    expected = whole.feed(stream) + whole.flush()
    cut, lines, rest = LineSplitter(), [], stream
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        lines += cut.feed(rest[:size])
        rest = rest[size:]
    assert lines + cut.flush() == expected


@given(st.integers(0, 4), st.integers(-2, 2))
def test_a_line_without_end_is_cut(times: int, more: int) -> None:
    length = max(0, times * MAX_LINE + more)
    splitter = LineSplitter()
    lines = splitter.feed(b"x" * length)
    lines += splitter.flush()
    assert "".join(lines) == "x" * length
    assert all(len(line) <= MAX_LINE for line in lines)


def test_empty_lines_and_carriage_returns(tmp_path: Path) -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"a\r\n\n b\rc\n\r\nd") == ["a", "", " b\rc", ""]
    assert splitter.flush() == ["d"]
    assert splitter.flush() == []


def test_a_tail_is_bounded_and_empty_where_there_is_nothing(tmp_path: Path) -> None:
    assert tail(tmp_path / "none", 5) == ()
    with piped(tmp_path, 100_000) as (output, writing):
        os.write(writing, b"".join(b"line %d\n" % number for number in range(1000)))
        output.pump()
    assert tail(tmp_path, 2) == ("line 998", "line 999")
    assert tail(tmp_path, 0) == ()
    assert len(tail(tmp_path, 10_000, max_bytes=90)) == 10
