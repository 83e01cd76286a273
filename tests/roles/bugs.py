"""Errors that nobody expected, and runs to meet them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from structlog.typing import EventDict

from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import POOL, WorkerWorld

Moment = Literal["before", "after"]
Faults = Callable[[str, Moment], Awaitable[None]]


class Bug(Exception):
    """Known to nobody."""


def fails(operation: str, moment: Moment = "before", error: type[Exception] = Bug) -> Faults:
    """Whoever does this meets a bug, always."""

    async def faults(done: str, when: Moment) -> None:
        if (done, when) == (operation, moment):
            raise error("secret-0123456789")

    return faults


def logged(logs: list[EventDict]) -> list[str]:
    """The errors whose traceback is in the log."""
    return [type(line["exc_info"]).__name__ for line in logs if line.get("exc_info")]


def types_of(world: WorkerWorld, run: FlowRunId) -> list[StateType]:
    return list(world.server.types_of(run))


async def running(world: WorkerWorld) -> tuple[FlowRunId, ScriptedProcess]:
    """A run that goes on for ever in the only slot."""
    return await world.start_running(limit=1)


async def the_slot_is_free(world: WorkerWorld) -> None:
    """Without bugs another run is run."""
    world.orchestrator.faults = world.launcher.faults = None
    world.keeper.script = world.engine
    await world.until_state(world.server.schedule(POOL), StateType.COMPLETED)
