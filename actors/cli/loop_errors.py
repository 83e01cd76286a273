"""Limits the log lines about errors that nobody awaits; asyncio's own handler logs each one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

REPEAT_SECONDS: Final = 3600.0
"""How long errors of a kind are only counted after one of them was logged."""
KINDS: Final = 100
"""Kinds that are told apart; all further ones count as one."""


@dataclass(slots=True)
class _Kind:
    logged_at: float
    unlogged: int = 0
    """Errors since then."""


class LoopErrors:
    """An exception handler for an event loop: see asyncio's ``loop.set_exception_handler``.

    Logs the first error of a kind with its traceback, counts the others, and logs one with their
    number at most once an hour. The kind is the type of the exception and the line that raised
    it; where there is no exception, asyncio's message.
    """

    def __init__(self) -> None:
        self._kinds: dict[object, _Kind] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error: BaseException | None = context.get("exception")
        name = _kind_of(error, str(context.get("message")))
        if name not in self._kinds and len(self._kinds) >= KINDS:
            name = "any other"
        kind = self._kinds.get(name)
        if kind is not None and loop.time() < kind.logged_at + REPEAT_SECONDS:
            kind.unlogged += 1
            return
        self._kinds[name] = _Kind(loop.time())
        log.error(
            "loop.error",
            message=str(context.get("message")),
            times=1 + (kind.unlogged if kind is not None else 0),
            exc_info=error,
        )

    def log_counts(self) -> None:
        """Log how many errors of each kind were not logged."""
        for name, kind in self._kinds.items():
            if kind.unlogged:
                log.error("loop.errors_repeated", kind=name, times=kind.unlogged)
                kind.unlogged = 0


def _kind_of(error: BaseException | None, message: str) -> str:
    if error is None:
        return message
    trace = error.__traceback__
    if trace is None:
        return repr(type(error))
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{type(error).__name__} in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
