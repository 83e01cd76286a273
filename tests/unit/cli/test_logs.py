from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import pty
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from actors.cli import logs
from actors.domain.masking import Masker


class Out(io.StringIO):
    """A stream without a descriptor, as a program that embeds the worker may have."""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def last(self) -> dict[str, Any]:
        return self.lines()[-1]


@contextmanager
def installed(stream: Any, **options: Any) -> Iterator[logs.LogPipe]:
    pipe = logs.LogPipe(stream=stream, **options)
    try:
        yield pipe
    finally:
        pipe.close()


@pytest.fixture
def out() -> Out:
    return Out()


def test_a_line_is_a_json_object_with_the_event_and_its_fields(out: Out) -> None:
    with installed(out):
        structlog.get_logger().info("run.exited", code=1, pid=17)
    line = out.last()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "run.exited", "level": "info", "code": 1, "pid": 17}


def test_what_is_bound_is_on_every_line_and_nulls_on_none(out: Out) -> None:
    with installed(out) as pipe:
        pipe.context = lambda: {"worker": "node-7", "pool": "p", "spare": None}
        with bound_contextvars(flow_run_id="f1", flow_run_name=None):
            structlog.get_logger().info("run.exited", signal=None)
            logging.getLogger("urllib3").warning("retrying %s", "x")
    for line in out.lines():
        assert {"worker": "node-7", "pool": "p", "flow_run_id": "f1"}.items() <= line.items()
        assert None not in line.values()


def test_a_loggers_own_field_wins_over_what_is_bound(out: Out) -> None:
    with installed(out) as pipe:
        pipe.context = lambda: {"worker": "node-7"}
        structlog.get_logger().info("worker.seen", worker="other")
    assert out.last()["worker"] == "other"


def test_libraries_and_warnings_come_through_the_same_pipe(out: Out) -> None:
    with installed(out):
        logging.getLogger("pykka").error("an actor failed", extra={"actor": "Poller"})
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("that is old", DeprecationWarning, stacklevel=1)
    actor, warning = out.lines()
    assert (actor["logger"], actor["event"], actor["actor"]) == (
        "pykka",
        "an actor failed",
        "Poller",
    )
    assert warning["logger"] == "py.warnings"
    assert "that is old" in warning["event"]


def test_a_task_that_nobody_awaited_is_in_the_log(out: Out) -> None:
    async def fail() -> None:
        raise ValueError("lost")

    async def main() -> None:
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        del task

    with installed(out):
        asyncio.run(main())
    assert out.last()["logger"] == "asyncio"
    assert "ValueError: lost" in out.last()["exception"]


def test_a_level_hides_what_is_below_it_for_ours_and_others(out: Out) -> None:
    with installed(out, level="WARNING"):
        structlog.get_logger().info("run.exited")
        logging.getLogger("urllib3").info("connected")
        structlog.get_logger().warning("run.lost")
    assert [line["event"] for line in out.lines()] == ["run.lost"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_secrets_are_masked_in_every_text_wherever_it_hides(out: Out, format: str) -> None:
    with installed(out, format=format, mask=Masker(["hunter22"]).text) as pipe:
        pipe.context = lambda: {"server": "http://me:hunter22@host"}
        log = structlog.get_logger()
        log.info("a hunter22", nested={"list": ["hunter22", 1]}, path=Path("/hunter22"))
        logging.getLogger("urllib3").warning("url %s", "http://x/hunter22")
        try:
            raise ValueError("hunter22 is wrong")
        except ValueError:
            log.exception("run.failed", error=ValueError("hunter22"))
    assert "hunter22" not in out.getvalue()
    assert "********" in out.getvalue()


def test_secrets_learned_later_are_masked_from_then_on(out: Out) -> None:
    with installed(out) as pipe:
        pipe.mask = Masker(["swordfish"]).text
        structlog.get_logger().info("swordfish")
    assert out.last()["event"] == "********"


def test_lines_are_pretty_on_a_terminal_and_json_elsewhere(out: Out) -> None:
    parent, child = pty.openpty()
    with os.fdopen(child, "w") as terminal, os.fdopen(parent, "rb", 0) as screen:
        with installed(terminal) as pipe:
            assert pipe.format == "console"
            structlog.get_logger().info("run.exited", code=1)
        shown = screen.read(4096).decode()
    assert "run.exited" in shown
    assert not shown.startswith("{")
    with installed(out) as pipe:
        assert pipe.format == "json"


def test_the_format_can_be_chosen(out: Out) -> None:
    with installed(out, format="console") as pipe:
        structlog.get_logger().info("run.exited", code=1)
        assert pipe.format == "console"
    assert "run.exited" in out.getvalue()
    assert "code=1" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_a_broken_pipe_costs_the_line_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, installed(stream) as pipe:
        structlog.get_logger().info("run.exited")
        logging.getLogger("urllib3").warning("retry")
        pipe.flush()
        assert pipe.dropped == 2


def test_a_stream_closed_meanwhile_costs_the_line_and_nothing_else(out: Out) -> None:
    with installed(out) as pipe:
        out.close()
        structlog.get_logger().info("run.exited")
        assert pipe.dropped == 1


def test_a_library_line_that_cannot_be_formatted_is_remarked(out: Out) -> None:
    with installed(out):
        # handed to our handler alone: pytest's own raises
        record = logging.makeLogRecord({"name": "urllib3", "msg": "%d", "args": ("no number",)})
        logging.getLogger().handlers[-1].handle(record)
    assert "could not be formatted" in out.getvalue()


def test_a_reader_that_goes_away_does_not_change_the_exit_code() -> None:
    program = (
        "import sys, structlog\n"
        "from actors.cli import logs\n"
        "pipe = logs.LogPipe(stream=sys.stdout, format='json')\n"
        "sys.stdin.read()\n"
        "structlog.get_logger().info('run.exited')\n"
        "pipe.flush()\n"
        "sys.exit(7 if pipe.dropped else 1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.close()
    assert process.wait(60) == 7


def test_closing_leaves_logging_as_it_was(out: Out) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with installed(out):
        pass
    assert (list(root.handlers), root.level) == before
    assert not structlog.is_configured()
