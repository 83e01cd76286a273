"""What job templates need from the server: blocks and variables, each fetched once.

The templates themselves are pure and live in :mod:`actors.job.template`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import assert_never

from ..domain.errors import NotFound
from ..domain.model import Json
from ..domain.ports import Orchestrator
from ..job.template import BlockIdRef, BlockRef, Populated, Reference, VariableRef, references


async def fetch(orchestrator: Orchestrator, populated: Populated) -> dict[Reference, Json]:
    """Everything that ``populated`` refers to, and what blocks in it refer to in turn.

    What the server does not have is absent; other OrchestratorError kinds pass through.
    """
    values: dict[Reference, Json] = {}
    asked: set[Reference] = set()
    while missing := references(populated, values) - asked:
        asked |= missing
        values |= await resolve(orchestrator, missing)
    return values


async def resolve(
    orchestrator: Orchestrator, wanted: Collection[Reference]
) -> dict[Reference, Json]:
    """The values of ``wanted``, fetched concurrently, without those that do not exist."""
    found: dict[Reference, Json] = {}

    async def read(reference: Reference) -> None:
        with suppress(NotFound):  # whether that matters is for the template to say
            found[reference] = await _read(orchestrator, reference)

    try:
        async with asyncio.TaskGroup() as group:
            for reference in set(wanted):
                group.create_task(read(reference))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return found


async def _read(orchestrator: Orchestrator, reference: Reference) -> Json:
    match reference:
        case BlockRef(type_slug, name):
            return await orchestrator.read_block_by_name(type_slug, name)
        case BlockIdRef(id):
            return await orchestrator.read_block_by_id(id)
        case VariableRef(name):
            return await orchestrator.read_variable(name)
        case _:
            assert_never(reference)
