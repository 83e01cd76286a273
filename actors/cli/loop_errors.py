"""Limits the log lines about errors that nobody awaits; asyncio's own handler logs each one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Final

import structlog

from ..domain.log_once import place_of

log = structlog.get_logger(__name__)

KINDS: Final = 100
"""Kinds that are told apart; all further ones count as one."""


class LoopErrors:
    """An exception handler for an event loop: see asyncio's ``loop.set_exception_handler``.

    Logs the first error of a kind, the tenth, the hundredth and so on, with its traceback and how
    many there were. The kind is the type of the exception and the line that raised it; where there
    is no exception, asyncio's message.
    """

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error: BaseException | None = context.get("exception")
        message = str(context.get("message"))
        kind = message if error is None else place_of(error)
        if kind not in self._times and len(self._times) >= KINDS:
            kind = "any other"
        self._times[kind] += 1
        times = self._times[kind]
        if times == 10 ** (len(str(times)) - 1):
            log.error("loop.error", message=message, times=times, exc_info=error)
