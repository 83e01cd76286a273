"""Writes what the worker is doing into its log, at a SIGUSR1."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import NoReturn

from ..app.system import ActorSystem
from ..runtime import dump
from .logs import asked_for

log = asked_for("actors.dump")


async def dump_on_request(
    requested: asyncio.Event, write: Callable[[], Awaitable[None]]
) -> NoReturn:
    """Call ``write`` each time that ``requested`` is set, until it is cancelled.

    Requests during a dump share the next one.
    """
    while True:
        await requested.wait()
        requested.clear()
        try:
            await write()
        except Exception:
            log.exception("dump.failed")


async def dump_to_log(system: ActorSystem) -> None:
    """Logs a line for each actor with its mailbox, then a line for each run in hand."""
    reports = dump(system.wiring.directory)
    for report in reports:
        log.info("dump.actor", **asdict(report))
    try:
        runs = await system.runs()
    except Exception as error:  # the other lines help even if the Dispatcher does not answer
        log.warning("dump.runs_unknown", error=repr(error))
        return
    for situation in runs:
        log.info(
            "dump.run",
            flow_run_id=situation.run.id,
            flow_run_name=situation.run.name,
            key=situation.key,
            claimed=situation.claimed,
            holds_slot=situation.holds_slot,
        )
    log.info("dump.complete", actors=len(reports), runs=len(runs))
