"""What the worker is doing at this moment, into its log: for SIGUSR1."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from ..app.system import ActorSystem
from ..runtime import dump
from .logs import asked_for

log = asked_for("actors.dump")


class Dumper:
    """Writes a dump whenever one is asked for, one after the other, by calling ``write``.

    Owns: _wanted (whether another one is to be begun) and _writing (the one under way). Requests
    that come while one is written get one new dump together: it shows what is going on then.
    """

    def __init__(self, write: Callable[[], Awaitable[None]]) -> None:
        self._write = write
        self._up = False
        self._wanted = False
        self._writing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """There is something to dump from now on. What was asked for before is written."""
        self._up = True
        self._go_on()

    def request(self) -> None:
        """Write a dump that begins now or later."""
        self._wanted = True
        self._go_on()

    async def finish(self) -> None:
        """Return when everything that was asked for is written, if it can be."""
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
    """A line for each actor with its mailbox, then a line for each run in hand."""
    reports = dump(system.wiring.directory)
    for report in reports:
        log.info("dump.actor", **asdict(report))
    try:
        runs = await system.runs()
    except Exception as error:  # the rest is worth having whatever is wrong with the Dispatcher
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
