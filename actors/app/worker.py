"""One worker as a program: from its settings to its exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import structlog

from . import logs
from .escalation import Escalation, stop_signals
from .wrong_settings import unknown_variables

if TYPE_CHECKING:
    from .settings import Settings

log = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> int:
    """Run a worker until it has stopped; its exit code. WorkerError: it could not do its job."""
    pipe = logs.configure(format=settings.log_format, level=settings.log_level)
    try:
        for remark in unknown_variables(type(settings).model_fields):
            log.warning("settings.unknown_variable", remark=remark)
        return asyncio.run(_life(settings, pipe))
    finally:
        pipe.close()


async def _life(settings: Settings, pipe: logs.LogPipe) -> int:
    from .system import ActorSystem

    system = ActorSystem(settings)
    escalation = Escalation(
        [
            ("finish the runs, then stop", lambda _: system.drain()),
            ("do not wait any longer", lambda _: system.stop_now()),
            ("leave at once", leave),
        ]
    )
    with stop_signals(escalation):
        async with system:
            announce(pipe, "worker.started", f"Worker {system.name!r} started!")
            await system.wait()
    announce(pipe, "worker.stopped", f"Worker {system.name!r} stopped!")
    return system.exit_code


def leave(number: int) -> None:
    """End this process at once, as the signal would; the keeper holds the runs."""
    os._exit(128 + number)


def announce(pipe: logs.LogPipe, event: str, words: str) -> None:
    """Say what the peer prints: to stdout, or as a log line where the log is JSON."""
    if pipe.format == "json":
        log.info(event, message=words)
    else:
        logs.LineWriter(sys.stdout).line(words)
