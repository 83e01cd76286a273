"""Lines for a reader that does not read: they cost lines, never whoever writes them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog

from actors.cli import logs
from actors.cli.line_writer import LineWriter

PATIENCE_SECONDS = 60.0


@contextmanager
def full_pipe() -> Iterator[tuple[int, TextIO]]:
    """The reading end of a pipe that takes no more, and a stream on its other end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"." * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    with os.fdopen(writing, "w") as stream:
        try:
            yield reading, stream
        finally:
            os.close(reading)


def read_until(reading: int, end: str) -> list[str]:
    """The lines that come after what the pipe was full of, up to the one that ends so."""
    read = b""
    while not read.endswith(f"{end}\n".encode()):
        read += os.read(reading, 65536)
    return read.decode().lstrip(".").splitlines()


def test_who_writes_to_a_pipe_that_nobody_reads_does_not_wait_and_lines_are_counted() -> None:
    with full_pipe() as (_, stream):
        writer = LineWriter(stream, held_bytes=100)
        for _ in range(100):
            writer.line("123456789")  # ten bytes, with its end
        assert writer.dropped == 90
        writer.close(0.0)


def test_lines_that_were_held_come_once_somebody_reads_in_their_order() -> None:
    with full_pipe() as (reading, stream):
        writer = LineWriter(stream)
        for number in range(10):
            writer.line(str(number))
        assert read_until(reading, "9") == [str(number) for number in range(10)]
        writer.close()
        assert writer.dropped == 0


def test_what_was_lost_is_said_once_there_is_room_again() -> None:
    said: list[int] = []
    with full_pipe() as (reading, stream):
        writer = LineWriter(stream, held_bytes=100, on_lost=said.append)
        for _ in range(15):
            writer.line("123456789")
        assert said == []
        read_until(reading, "9")
        assert writer.flush(PATIENCE_SECONDS)
        writer.line("again")
        writer.line("and again")
        writer.close()
    assert said == [5]


def test_the_end_waits_for_a_reader_for_a_bounded_time() -> None:
    with full_pipe() as (_, stream):
        writer = LineWriter(stream)
        writer.line("nobody reads this")
        assert not writer.flush(0.0)
        writer.close(0.0)
        writer.line("too late")
        assert writer.dropped == 1


def test_a_pipe_that_others_made_non_blocking_costs_no_line() -> None:
    with full_pipe() as (reading, stream):
        os.set_blocking(stream.fileno(), False)
        writer = LineWriter(stream)
        writer.line("patience")
        assert read_until(reading, "patience") == ["patience"]
        writer.close()
        assert writer.dropped == 0


def test_the_log_says_how_many_lines_it_has_lost() -> None:
    with full_pipe() as (reading, stream):
        pipe = logs.LogPipe(stream=stream, format="json")
        log = structlog.get_logger()
        for _ in range(100):
            log.info("padding", text="x" * 200_000)
        lost = pipe.dropped
        held = 100 - lost
        while held:
            held -= os.read(reading, 65536).count(b"\n")
        pipe.flush(PATIENCE_SECONDS)
        log.info("again")
        pipe.close()
        again, remark = map(json.loads, os.read(reading, 65536).splitlines())
    assert again["event"] == "again"
    assert (remark["event"], remark["lines"]) == ("log.lines_lost", lost)
    assert lost > 0


def test_what_was_asked_for_comes_at_any_level() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stream:
        pipe = logs.LogPipe(stream=stream, format="json", level="CRITICAL")
        log = logs.asked_for("x")
        log.info("dump.run", claimed=True)
        structlog.get_logger().error("unasked")
        logging.getLogger("library").error("unasked")
        pipe.close()
        line = json.loads(reader.readline())
        assert (line["event"], line["level"]) == ("dump.run", "info")
        stream.close()
        assert reader.read() == b""
