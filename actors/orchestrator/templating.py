"""Fetching what a job template names: blocks and variables, each once, side by side."""

from __future__ import annotations

import asyncio

from ..domain.errors import NotFound
from ..domain.model import Json
from ..domain.ports import Orchestrator
from ..domain.template import BlockIdRef, BlockRef, Populated, Reference, Values, references


async def fetch(orchestrator: Orchestrator, populated: Populated) -> Values:
    """The values of everything ``populated`` refers to; what the server has not is absent.

    In two rounds at most: the data of a block may name variables in turn. Raises
    OrchestratorError kinds other than NotFound.
    """
    values: dict[Reference, Json] = {}
    asked: set[Reference] = set()
    while wanted := references(populated, values) - asked:
        asked |= wanted
        ordered = list(wanted)
        answers = await asyncio.gather(*(_fetch_one(orchestrator, ref) for ref in ordered))
        values.update(
            (ref, answer[0]) for ref, answer in zip(ordered, answers, strict=True) if answer
        )
    return values


async def _fetch_one(orchestrator: Orchestrator, ref: Reference) -> tuple[Json] | None:
    """The value in a tuple, since None is a value; None where there is nothing of that name."""
    try:
        match ref:
            case BlockRef(type_slug=slug, name=name):
                return (await orchestrator.read_block_by_name(slug, name),)
            case BlockIdRef(id=id):
                return (await orchestrator.read_block_by_id(id),)
            case _:
                return (await orchestrator.read_variable(ref.name),)
    except NotFound:
        return None
