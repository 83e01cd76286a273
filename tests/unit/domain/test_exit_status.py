from __future__ import annotations

import logging
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain.exit_status import (
    MAX_MESSAGE_BYTES,
    crash_message,
    explain,
)
from actors.domain.process import ExitStatus
from actors.domain.record import Limits, Reason


@pytest.mark.parametrize(
    ("code", "words", "level"),
    [
        (0, "exited cleanly", logging.INFO),
        (1, "exception that nothing caught", logging.ERROR),
        (2, "command line", logging.ERROR),
        (42, "exited with code 42", logging.ERROR),
        (125, "container runtime", logging.ERROR),
        (126, "could not be executed", logging.ERROR),
        (127, "not found", logging.ERROR),
        (137, "ended by SIGKILL", logging.ERROR),
        (139, "ended by SIGSEGV", logging.ERROR),
        (143, "ended by SIGTERM", logging.INFO),
        (247, "memory ran out", logging.ERROR),
        (-9, "ended by SIGKILL", logging.INFO),
        (-15, "ended by SIGTERM", logging.INFO),
        (-2, "ended by SIGINT", logging.INFO),
        (-11, "ended by SIGSEGV", logging.ERROR),
        (-6, "ended by SIGABRT", logging.ERROR),
        (-signal.SIGBUS, "ended by SIGBUS", logging.ERROR),
        (-signal.SIGUSR1, "ended by SIGUSR1", logging.ERROR),
        (-40, "ended by signal 40", logging.ERROR),
        (None, "nobody was there", logging.ERROR),
    ],
)
def test_an_exit_code_is_explained(code: int | None, words: str, level: int) -> None:
    explanation = explain(code)
    assert words in explanation.text
    assert explanation.level == level


@given(st.one_of(st.none(), st.integers(-(2**31), 2**32)))
def test_every_exit_code_has_an_explanation(code: int | None) -> None:
    explanation = explain(code)
    assert explanation.summary.endswith(".")
    assert explanation.text.startswith(explanation.summary)


# --- crash messages ---------------------------------------------------------------------------

KILLED = ExitStatus(code=-9)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_message(reason: Reason) -> None:
    for status in (None, KILLED, ExitStatus(code=3), ExitStatus(code=None)):
        assert crash_message(reason, status, ()).endswith(".")


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [
        (Reason.FAILED, ExitStatus(code=127), "a command was not found"),
        (Reason.TIMED_OUT, KILLED, "longer than 90 s (job variable timeout_seconds)"),
        (Reason.TIMED_OUT, KILLED, "It ended by SIGKILL."),
        (Reason.TIMED_OUT, ExitStatus(code=0), "It exited with code 0."),
        (Reason.OUT_OF_MEMORY_LIMIT, KILLED, "more memory than 512 MB"),
        (Reason.OUT_OF_MEMORY_KERNEL, KILLED, "memory had run out"),
        (Reason.LOST, ExitStatus(code=None), "nobody was there"),
        (Reason.MACHINE_RESTARTED, None, "restarted"),
        (Reason.WORKER_STOPPED, KILLED, "worker was stopped"),
    ],
)
def test_a_message_names_the_cause(reason: Reason, status: ExitStatus | None, words: str) -> None:
    limits = Limits(timeout_seconds=90, memory_limit_mb=512)
    assert words in crash_message(reason, status, (), limits=limits)


def test_a_given_cause_is_told() -> None:
    message = crash_message(Reason.COULD_NOT_START, None, (), cause="No such directory: /srv.")
    assert message == "The flow run could not be started. No such directory: /srv."


def test_the_last_lines_of_output_follow_without_terminal_codes() -> None:
    tail = (
        "\x1b[31mTraceback\x1b[0m\r",
        "\x1b]8;;http://x\x1b\\link\x1b]8;;\x07\t!",
        "10%\r50%\r100%",
        "bell\x07",
        "",
    )
    message = crash_message(Reason.FAILED, ExitStatus(code=1), tail)
    heading, *lines = message.split("\n")[1:]
    assert heading == "Its last output:"
    assert lines == ["Traceback", "link\t!", "100%", "bell"]


def test_empty_output_is_not_mentioned() -> None:
    assert "output:" not in crash_message(Reason.FAILED, KILLED, ("", "  "))


def test_the_latest_lines_are_kept_when_there_is_room_for_some_only() -> None:
    message = crash_message(Reason.FAILED, KILLED, [f"{n} " + "x" * 100 for n in range(1000)])
    assert message.split("\n")[-1].startswith("999 ")
    assert 3000 < len(message.encode()) <= MAX_MESSAGE_BYTES


def test_long_causes_and_lines_are_cut_between_characters() -> None:
    message = crash_message(Reason.LOST, None, ["€" * 5000] * 20, cause="🦊" * 5000)
    assert message.count("🦊…") == 1
    assert message.split("\n")[-1].endswith("€…")
    assert len(message.encode()) <= MAX_MESSAGE_BYTES


@given(
    reason=st.sampled_from(Reason),
    tail=st.lists(st.text(st.characters()), max_size=30),
    cause=st.text(max_size=3000),
)
def test_a_message_is_bounded_and_clean_whatever_was_printed(
    reason: Reason, tail: list[str], cause: str
) -> None:
    message = crash_message(reason, KILLED, tail, cause=cause)
    assert len(message.encode()) <= MAX_MESSAGE_BYTES
    assert not {"\x1b", "\0", "\r", "\x08"} & set(message)
