"""How a process ended, in words: what happened, what usually causes it, what to do.

Exit codes follow :mod:`subprocess`: negative for a signal.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Final

from .exit_table import (
    ANY_SIGNAL,
    BY_CODE,
    BY_SIGNAL,
    CONTROL_C,
    LOST,
    WINDOWS_CONTROL_C,
    Explanation,
)
from .masking import Masker
from .plain_text import plain
from .process import ExitStatus
from .record import Limits, Reason

MAX_MESSAGE_BYTES: Final = 4096
MAX_LINE_BYTES: Final = 400
MAX_CAUSE_BYTES: Final = 1500

BY_SIGKILL: Final = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""Killed itself, or a shell whose command was."""

_NOTHING_KNOWN: Final = Masker()
_CUT: Final = "…"

WINDOWS_CTRL_BREAK_EVENT: Final = 1
"""What ends a process on Windows, where SIGTERM ends it without a chance to clean up.

It reaches a process only if that was started in a process group of its own
(CREATE_NEW_PROCESS_GROUP, 0x200); nothing follows it there, no grace period and no kill.
"""


def polite_signal(*, windows: bool = False) -> int:
    """The signal that asks a process to end."""
    return WINDOWS_CTRL_BREAK_EVENT if windows else int(signal.SIGTERM)


def explain(code: int | None, *, windows: bool = False) -> Explanation:
    """What exit code ``code`` means; None: nobody was there to receive it.

    On ``windows`` there are no signals, and codes may be read as signed 32-bit numbers.
    """
    if code is None:
        return LOST
    if windows:
        code %= 1 << 32
    if code == WINDOWS_CONTROL_C:
        return CONTROL_C
    if code < 0:
        return _by_signal(-code)
    return BY_CODE.get(code) or _by_shell(code)


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; ``signal 99`` where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _by_signal(number: int) -> Explanation:
    name = signal_name(number)
    cause, advice, level = BY_SIGNAL.get(name, ANY_SIGNAL)
    return Explanation(
        summary=f"The process was ended by {name}.", cause=cause, advice=advice, level=level
    )


def _by_shell(code: int) -> Explanation:
    """Codes of which only the rule is known: 128 plus a signal, else the command's own choice."""
    number = code - 128
    if number in signal.valid_signals():
        name = signal_name(number)
        cause, advice, level = BY_SIGNAL.get(name, ANY_SIGNAL)
        return Explanation(
            summary=f"The process exited with code {code}: something in it was ended by {name}.",
            cause=cause,
            advice=advice,
            level=level,
        )
    return Explanation(
        summary=f"The process exited with code {code}.",
        cause="The command itself chose this code.",
        advice="Look at its output and at the command's documentation.",
    )


def crash_message(
    reason: Reason,
    status: ExitStatus | None,
    tail: Sequence[str],
    *,
    cause: str = "",
    limits: Limits | None = None,
    masker: Masker = _NOTHING_KNOWN,
) -> str:
    """Why a run ended, for its state at the server, and the last lines of its output.

    ``status`` is how its process ended, None if it never had one. ``cause`` tells what happened
    in words where the reason alone does not, ``limits`` which bounds it had. At most
    MAX_MESSAGE_BYTES of UTF-8; as many of the last lines as that leaves room for.
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
    """How a process that we ended took it."""
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
    """A heading and the last of these lines that fit into ``room`` bytes; nothing if none."""
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
    """``text``, cut to at most ``size`` bytes of UTF-8."""
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    return encoded[: size - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _size(line: str) -> int:
    """Bytes of a line with its newline."""
    return len(line.encode()) + 1
