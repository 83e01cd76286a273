"""What the worker is doing at this moment, into its log: for SIGUSR1."""

from __future__ import annotations

from dataclasses import asdict

from ..runtime import ActorDeadError, Timeout, dump
from .logs import asked_for
from .system import ActorSystem

log = asked_for("actors.dump")


async def dump_to_log(system: ActorSystem) -> None:
    """A line for each actor with its mailbox, then a line for each run in hand."""
    reports = dump(system.wiring.directory)
    for report in reports:
        log.info("dump.actor", **asdict(report))
    try:
        runs = await system.runs()
    except (ActorDeadError, Timeout) as error:
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
