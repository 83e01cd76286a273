"""How a process ended, in words: what happened, the usual cause, what to do.

Exit codes follow :mod:`subprocess`: negative for a signal.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Final

from .exit_table import ANY_CODE, ANY_SIGNAL, BY_CODE, BY_SIGNAL, CLEAN, LOST, Explanation
from .masking import Masker
from .plain_text import plain
from .process import ExitStatus
from .record import Limits, Reason

MAX_MESSAGE_BYTES: Final = 4096
MAX_LINE_BYTES: Final = 400
MAX_CAUSE_BYTES: Final = 1500

BY_SIGKILL: Final = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""The process was killed, or the command of its shell."""

_NOTHING_KNOWN: Final = Masker()
_CUT: Final = "…"


def explain(code: int | None) -> Explanation:
    """The meaning of exit code ``code``; None: nobody received it."""
    if code is None:
        return LOST
    if code == 0:
        return CLEAN
    if code < 0:
        return _by_signal(-code, f"The process was ended by {signal_name(-code)}.")
    exited = f"The process exited with code {code}"
    if code not in BY_CODE and code - 128 in signal.valid_signals():
        name = signal_name(code - 128)
        return _by_signal(code - 128, f"{exited}: something in it was ended by {name}.")
    what, cause, advice = BY_CODE.get(code, ANY_CODE)
    return Explanation(summary=f"{exited}{what}.", cause=cause, advice=advice)


def _by_signal(number: int, summary: str) -> Explanation:
    cause, advice, level = BY_SIGNAL.get(signal_name(number), ANY_SIGNAL)
    return Explanation(summary=summary, cause=cause, advice=advice, level=level)


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; ``signal 99`` where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def crash_message(
    reason: Reason,
    status: ExitStatus | None,
    tail: Sequence[str],
    *,
    cause: str = "",
    limits: Limits | None = None,
    masker: Masker = _NOTHING_KNOWN,
) -> str:
    """The message of a run's last state: why it ended, and the last lines of its output.

    ``status`` is None if the run had no process. ``cause`` adds to what ``reason`` says. The
    message has at most MAX_MESSAGE_BYTES of UTF-8, and as many last lines as fit in.
    """
    cause = _shorten(masker.text(plain(cause, keep_newlines=True)), MAX_CAUSE_BYTES)
    message = _why(reason, status, cause, limits or Limits())
    lines = _last_lines(
        [masker.text(plain(line)) for line in tail], MAX_MESSAGE_BYTES - _size(message)
    )
    return "\n".join([message, *lines])


def _why(reason: Reason, status: ExitStatus | None, cause: str, limits: Limits) -> str:
    exited = explain(status.code).text if status else ""
    match reason:
        case Reason.EXITED | Reason.FAILED:
            return _sentences(exited or "The process is over.", cause)
        case Reason.CANCELLED:
            return _sentences("The flow run was cancelled.", cause)
        case Reason.TIMED_OUT:
            return _sentences(
                f"The flow run was ended because it lasted longer than "
                f"{_amount(limits.timeout_seconds, 's')} (job variable timeout_seconds).",
                cause,
                "Raise the limit, or find out what held it up.",
                _how_it_went(status),
            )
        case Reason.OUT_OF_MEMORY_LIMIT:
            return _sentences(
                f"The flow run was ended because its processes held more memory than "
                f"{_amount(limits.memory_limit_mb, 'MB')} (job variable memory_limit_mb).",
                cause,
                "Raise the limit, or let it use less.",
                _how_it_went(status),
            )
        case Reason.OUT_OF_MEMORY_KERNEL:
            return _sentences(
                "The system killed the flow run because memory had run out.",
                cause,
                "Give the machine or container more, or run less at a time.",
            )
        case Reason.WORKER_STOPPED:
            return _sentences(
                "The worker was stopped and did not wait for this flow run any longer.",
                cause,
                "Run it again; a longer drain period would have let it finish.",
                _how_it_went(status),
            )
        case Reason.MACHINE_RESTARTED:
            return _sentences(
                "The machine or container was restarted while the flow run was going.",
                cause,
                "Run it again.",
            )
        case Reason.LOST:
            return _sentences(explain(None).text, cause)
        case Reason.COULD_NOT_START:
            return _sentences("The flow run could not be started.", cause)
        case Reason.WORKER_FAILED:
            return _sentences(
                "The worker has ended the flow run because it could not watch over it any more.",
                cause,
                "Run it again.",
                _how_it_went(status),
            )


def _how_it_went(status: ExitStatus | None) -> str:
    """How a process ended after the worker ended it."""
    if status is None or status.code is None:
        return ""
    if status.code < 0:
        return f"It ended by {signal_name(-status.code)}."
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
    for line in reversed([_shorten(line.rstrip(), MAX_LINE_BYTES) for line in tail]):
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
