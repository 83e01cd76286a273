"""One worker as a program: from its settings to its exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ..domain.masking import Masker
from . import logs
from .escalation import Step, stop_signals
from .exit_codes import INTERRUPTED
from .wrong_settings import unknown_variables

if TYPE_CHECKING:
    from .settings import Settings

log = structlog.get_logger(__name__)


def run_worker(settings: Settings) -> int:
    """Run a worker until it has stopped; its exit code. WorkerError: it could not do its job."""
    secrets = settings.prefect.session_options().secrets()
    pipe = logs.configure(
        format=settings.log_format, level=settings.log_level, mask=Masker(secrets).text
    )
    try:
        for remark in (
            *settings.prefect.warnings,
            *unknown_variables(type(settings).model_fields),
        ):
            log.warning("settings.doubtful", remark=remark)
        return asyncio.run(_life(settings, pipe))
    except asyncio.CancelledError:
        return INTERRUPTED
    finally:
        pipe.close()


async def _life(settings: Settings, pipe: logs.LogPipe) -> int:
    # imported here: a wrong setting is answered without it
    from .system import ActorSystem

    system = ActorSystem(settings)
    pipe.context = lambda: {"worker": system.name or None, "pool": settings.pool}
    up = False
    life = asyncio.current_task()

    def order(give: Callable[[], None]) -> Step:
        """``give`` the order to a system that is up; one that is not is called off."""

        def step(_: int) -> None:
            if up:
                give()
            elif life is not None:
                life.cancel()

        return step

    steps = [
        ("finish the runs and stop", order(system.drain)),
        ("do not wait for the runs any longer", order(system.stop_now)),
        ("end at once", leave),
    ]
    with stop_signals(steps):
        async with system:
            up = True
            announce(pipe, "worker.started", f"Worker {system.name!r} started!")
            await system.wait()
        announce(pipe, "worker.stopped", f"Worker {system.name!r} stopped!")
    return 0


def leave(number: int) -> None:
    """End this process at once, as the signal would; the keeper holds the runs."""
    os._exit(128 + number)


def announce(pipe: logs.LogPipe, event: str, words: str) -> None:
    """Say what the peer prints: to stdout, or as a log line where the log is JSON."""
    if pipe.format == "json":
        log.info(event, message=words)
    else:
        logs.LineWriter(sys.stdout).line(words)
