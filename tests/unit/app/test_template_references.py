from __future__ import annotations

import asyncio
from collections import Counter
from typing import Literal

import pytest

from actors.app.job_preparer import fetch_values
from actors.domain.errors import Unavailable
from actors.job.template import BlockIdRef, BlockRef, VariableRef
from actors.testing.orchestrator import InMemoryOrchestrator
from tests.support.manual_clock import ManualClock


class Asked:
    """Counts operations; all of them wait until ``together`` have begun."""

    def __init__(self, together: int = 1) -> None:
        self.operations: Counter[str] = Counter()
        self._barrier = asyncio.Barrier(together)

    async def __call__(self, operation: str, phase: Literal["before", "after"]) -> None:
        if phase == "before":
            self.operations[operation] += 1
            async with asyncio.timeout(60):
                await self._barrier.wait()


def test_references_are_fetched_once_each_and_at_the_same_time() -> None:
    async def main() -> None:
        asked = Asked(together=3)
        server = InMemoryOrchestrator(ManualClock(), faults=asked)
        block_id = server.world.add_block("secret", "name", {"value": "s"})
        server.world.variables["var"] = [1]
        wanted = [
            "{{ prefect.blocks.secret.name }}",
            "{{ prefect.blocks.secret.name }}",
            {"$ref": {"block_document_id": block_id}},
            "{{ prefect.variables.var }}",
        ]
        assert await fetch_values(server, {"command": wanted}) == {
            BlockRef("secret", "name"): {"value": "s"},
            BlockIdRef(block_id): {"value": "s"},
            VariableRef("var"): [1],
        }
        assert set(asked.operations.values()) == {1}

    asyncio.run(main())


def test_what_does_not_exist_is_absent() -> None:
    server = InMemoryOrchestrator(ManualClock())
    wanted = ["{{ prefect.blocks.secret.no }}", "{{ prefect.variables.no }}"]
    assert asyncio.run(fetch_values(server, {"command": wanted})) == {}


def test_other_errors_pass_through_as_they_are() -> None:
    async def fail(operation: str, phase: str) -> None:
        raise Unavailable("away")

    server = InMemoryOrchestrator(ManualClock(), faults=fail)
    wanted = ["{{ prefect.variables.a }}", "{{ prefect.variables.b }}"]
    with pytest.raises(Unavailable, match="away"):
        asyncio.run(fetch_values(server, {"command": wanted}))


def test_variables_named_within_blocks_are_fetched_too() -> None:
    async def main() -> None:
        asked = Asked()
        server = InMemoryOrchestrator(ManualClock(), faults=asked)
        server.world.add_block("json", "outer", {"value": "{{ prefect.variables.inner }}"})
        server.world.variables["inner"] = "found"
        populated = {"env": {"A": "{{ prefect.blocks.json.outer }}"}}
        assert await fetch_values(server, populated) == {
            BlockRef("json", "outer"): {"value": "{{ prefect.variables.inner }}"},
            VariableRef("inner"): "found",
        }
        assert set(asked.operations.values()) == {1}

    asyncio.run(main())


def test_nothing_is_asked_where_nothing_is_named() -> None:
    async def main() -> None:
        asked = Asked()
        server = InMemoryOrchestrator(ManualClock(), faults=asked)
        assert await fetch_values(server, {"env": {"A": "b"}}) == {}
        assert not asked.operations

    asyncio.run(main())
