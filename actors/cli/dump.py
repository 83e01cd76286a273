"""Writes what the worker is doing into its log, at a SIGUSR1."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from ..app.system import ActorSystem
from ..runtime import dump
from .logs import asked_for

log = asked_for("actors.dump")


class Dumper:
    """Calls ``write`` for each dump that is requested, one after the other.

    Owns: _wanted (whether another dump is to begin) and _writing (the one under way). Requests
    during a dump share the next one.
    """

    def __init__(self, write: Callable[[], Awaitable[None]]) -> None:
        self._write = write
        self._up = False
        self._wanted = False
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on there is something to dump; earlier requests are served."""
        self._up = True
        self._go_on()

    def request(self) -> None:
        self._wanted = True
        self._go_on()

    async def finish(self) -> None:
        """Return when every requested dump is written."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    def _go_on(self) -> None:
        if self._up and self._wanted and self._writing is None:
            self._wanted = False
            self._writing = asyncio.create_task(self._write_one(), name="dump")

    async def _write_one(self) -> None:
        try:
            await self._write()
        except Exception:
            log.exception("dump.failed")
        self._writing = None
        self._go_on()


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
