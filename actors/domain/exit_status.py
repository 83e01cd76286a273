"""How a process ended, in words: what happened, the usual cause, what to do.

Exit codes follow :mod:`subprocess`: negative for a signal. The table has the codes of shells and
container runtimes (128 plus the signal), and those that Prefect's worker explains
(``prefect/_internal/infrastructure_exit_codes.py``).
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .plain_text import plain
from .process import ExitStatus
from .record import Limits, Reason

MAX_MESSAGE_BYTES: Final = 4096
MAX_LINE_BYTES: Final = 400
MAX_CAUSE_BYTES: Final = 1500

BY_SIGKILL: Final = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""The process was killed, or the command of its shell."""

_NO_LIMITS: Final = Limits()
_CUT: Final = "…"


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a process ended, for people. ``level`` is a :mod:`logging` number."""

    summary: str
    why: str = ""
    """The usual cause, and what to do."""
    level: int = logging.ERROR

    @property
    def text(self) -> str:
        """All of it, in one line."""
        return _sentences(self.summary, self.why)


_MEMORY: Final = (
    "See whether memory ran short at that time (journalctl -k, the container's events); give the "
    "run more, or let it use less."
)
_NATIVE: Final = (
    "Set PYTHONFAULTHANDLER=1 in the job's env to see where, and suspect compiled libraries first."
)

_ON_PURPOSE: Final = frozenset(["SIGKILL", "SIGTERM", "SIGINT"])
"""Signals that are often sent on purpose, so that they are no errors."""

_BY_SIGNAL: Final = {
    "SIGKILL": "Most often the system ran out of memory, or somebody killed it on purpose. "
    f"{_MEMORY} If it was cancelled, all is well.",
    "SIGTERM": "Something asked it to stop: a cancellation, a shutdown, a deployment of new "
    "machines. If it was cancelled, all is well; otherwise see what stopped the machine or "
    "container.",
    "SIGINT": "Somebody interrupted it, as Ctrl+C does. If that was meant, all is well.",
    "SIGHUP": "Its terminal or session was closed. "
    "Start the worker as a service, or detached from the terminal.",
    "SIGSEGV": "It touched memory that is not its own: a fault in compiled code, or a stack "
    f"overflow. {_NATIVE}",
    "SIGBUS": "It used memory that could not be provided: a file cut short while mapped, or a "
    "full /dev/shm. See whether /dev/shm or the disk was full.",
    "SIGABRT": "It gave up by itself: a failed assertion in compiled code, or corrupted memory. "
    f"{_NATIVE}",
    "SIGFPE": f"Compiled code divided by zero or overflowed. {_NATIVE}",
    "SIGILL": "It met an instruction that this processor does not know. "
    "Install builds of the compiled libraries that fit this machine's processor.",
    "SIGPIPE": "It wrote to a pipe or socket that nobody read any more. "
    "See which program it was talking to ended before it.",
    "SIGXCPU": "It used up the processor time that it was allowed. "
    "Raise the limit (ulimit -t), or give the run less to do.",
    "SIGXFSZ": "It wrote a file larger than it was allowed. Raise the limit (ulimit -f).",
}

_BY_CODE: Final = {
    1: (".", "Most often an exception that nothing caught. Look at the end of its output."),
    2: (
        ".",
        "Most often a command line that the program does not understand. "
        "Check the command in the job variables, and look at the end of its output.",
    ),
    125: (
        ".",
        "The container runtime could not run the container. "
        "Check the image's name, its entry point, and that the runtime works.",
    ),
    126: (
        ": a command was found but could not be executed.",
        "Usually its file is not marked as executable, or is no program. "
        "Check the file's permissions (chmod +x) and its first line.",
    ),
    127: (
        ": a command was not found.",
        "Usually it is not installed where the run happens, or not on its PATH. "
        "Install it, or write its full path.",
    ),
    137: (
        ": something in it was ended by SIGKILL.",
        f"Most often memory ran out. {_MEMORY}",
    ),
    247: (
        ".",
        f"Most often something in it was ended by SIGKILL because memory ran out. {_MEMORY}",
    ),
}

_ANY_CODE: Final = (
    ".",
    "The command itself chose this code. Look at its output and at the command's documentation.",
)


def explain(code: int | None) -> Explanation:
    """The meaning of exit code ``code``; None: nobody received it."""
    if code is None:
        return Explanation(
            "The process is over, but nobody was there to receive its exit code.",
            "The keeper, the process that holds the worker's runs, had ended before it. See in "
            "the worker's log why; whether the run did its work shows in its output.",
        )
    if code == 0:
        return Explanation("The process exited cleanly.", level=logging.INFO)
    if code < 0:
        return _by_signal(-code, f"The process was ended by {_signal_name(-code)}.")
    exited = f"The process exited with code {code}"
    if code not in _BY_CODE and code - 128 in signal.valid_signals():
        name = _signal_name(code - 128)
        return _by_signal(code - 128, f"{exited}: something in it was ended by {name}.")
    what, why = _BY_CODE.get(code, _ANY_CODE)
    return Explanation(exited + what, why)


def _by_signal(number: int, summary: str) -> Explanation:
    name = _signal_name(number)
    why = _BY_SIGNAL.get(name, "See what on this machine sends that signal.")
    return Explanation(summary, why, logging.INFO if name in _ON_PURPOSE else logging.ERROR)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_BY_REASON: Final = {
    Reason.CANCELLED: ("The flow run was cancelled.", ""),
    Reason.TIMED_OUT: (
        "The flow run was ended because it lasted longer than {timeout} "
        "(job variable timeout_seconds).",
        "Raise the limit, or find out what held it up.",
    ),
    Reason.OUT_OF_MEMORY_LIMIT: (
        "The flow run was ended because its processes held more memory than {memory} "
        "(job variable memory_limit_mb).",
        "Raise the limit, or let it use less.",
    ),
    Reason.OUT_OF_MEMORY_KERNEL: (
        "The system killed the flow run because memory had run out.",
        "Give the machine or container more, or run less at a time.",
    ),
    Reason.WORKER_STOPPED: (
        "The worker was stopped and did not wait for this flow run any longer.",
        "Run it again; a longer drain period would have let it finish.",
    ),
    Reason.MACHINE_RESTARTED: (
        "The machine or container was restarted while the flow run was going.",
        "Run it again.",
    ),
    Reason.COULD_NOT_START: ("The flow run could not be started.", ""),
    Reason.DELETED: ("The flow run was deleted.", ""),
    Reason.WORKER_FAILED: (
        "The worker has ended the flow run because it could not watch over it any more.",
        "Run it again.",
    ),
}
"""What happened and what to do, where the exit code does not say it."""


def crash_message(
    reason: Reason,
    status: ExitStatus | None,
    tail: Sequence[str],
    *,
    cause: str = "",
    limits: Limits = _NO_LIMITS,
) -> str:
    """The message of a run's last state: why it ended, and the last lines of its output.

    ``status`` is None if the run had no process. ``cause`` adds to what ``reason`` says; secrets
    in it and in ``tail`` are masked already. The message has at most MAX_MESSAGE_BYTES of UTF-8,
    and as many last lines as fit in.
    """
    cause = _shorten(plain(cause, keep_newlines=True), MAX_CAUSE_BYTES)
    message = _why(reason, status, cause, limits)
    return "\n".join([message, *_last_lines(tail, MAX_MESSAGE_BYTES - _size(message))])


def _why(reason: Reason, status: ExitStatus | None, cause: str, limits: Limits) -> str:
    if reason is Reason.LOST:
        return _sentences(explain(None).text, cause)
    if reason in (Reason.EXITED, Reason.FAILED):
        return _sentences(explain(status.code).text if status else "The process is over.", cause)
    what, advice = _BY_REASON[reason]
    happened = what.format(
        timeout=_amount(limits.timeout_seconds, "s"), memory=_amount(limits.memory_limit_mb, "MB")
    )
    return _sentences(happened, cause, advice, _how_it_went(status))


def _how_it_went(status: ExitStatus | None) -> str:
    """How a process ended that did not end by itself."""
    if status is None or status.code is None:
        return ""
    if status.code < 0:
        return f"It ended by {_signal_name(-status.code)}."
    return f"It exited with code {status.code}."


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _amount(value: float | None, unit: str) -> str:
    return "its limit" if value is None else f"{value:g} {unit}"


def _last_lines(tail: Sequence[str], room: int) -> list[str]:
    """A heading and as many of the last lines as fit into ``room`` bytes."""
    heading = "Its last output:"
    room -= _size(heading)
    kept: list[str] = []
    for line in reversed([_shorten(plain(line).rstrip(), MAX_LINE_BYTES) for line in tail]):
        room -= _size(line)
        if room < 0:
            break
        if line or kept:
            kept.append(line)
    return [heading, *reversed(kept)] if kept else []


def _shorten(text: str, size: int) -> str:
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    return encoded[: size - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _size(line: str) -> int:
    """Bytes of a line and its newline."""
    return len(line.encode()) + 1
