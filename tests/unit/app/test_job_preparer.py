"""What is read for a run before it can be started."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from actors.app.job_preparer import FLOW_SECONDS, JobPreparer
from actors.domain.errors import NotFound
from actors.domain.ids import ClaimKey, FlowRunId, new_transition_id
from actors.domain.record import Phase, RunRecord
from actors.job.job import PreparedJob
from actors.runtime import LoopClock
from actors.testing.orchestrator import InMemoryOrchestrator
from tests.support.builders import POOL


class Desk:
    """A preparer, its server, and a clock to be moved by hand."""

    def __init__(self) -> None:
        self.orchestrator = InMemoryOrchestrator(LoopClock())
        self.server = self.orchestrator.world
        self.server.add_pool(POOL.name)
        self.time = 0.0
        self._preparer = JobPreparer(
            orchestrator=self.orchestrator,
            folder=self._folder,
            worker="w",
            engine_python="python",
            base_env={"DB_PASSWORD": "hunter22"},
            prefect_env=self._prefect_env,
            monotonic=lambda: self.time,
        )

    async def prepared(self, run: FlowRunId) -> PreparedJob:
        record = RunRecord(
            key=ClaimKey("key"),
            worker="w",
            run=self.server.run(run).run,
            claim=new_transition_id(),
            phase=Phase.PREPARING,
        )
        return await self._preparer.prepare_job(record, self.server.pools[POOL.name].pool)

    async def _folder(self, key: ClaimKey) -> Path:
        return Path("/state") / key

    async def _prefect_env(self) -> dict[str, str]:
        return {"PREFECT_API_DATABASE_PASSWORD": "swordfish"}


def at_a_desk(story: Callable[[Desk], Awaitable[None]]) -> None:
    async def tell() -> None:
        await story(Desk())

    asyncio.run(tell())


def test_a_run_whose_flow_is_deleted_cannot_be_run_and_that_is_said_in_words() -> None:
    async def story(desk: Desk) -> None:
        run = desk.server.schedule(POOL.name)
        desk.server.flows.clear()
        with pytest.raises(NotFound, match="flow of this flow run no longer exists") as refusal:
            await desk.prepared(run)
        assert "GET" not in str(refusal.value)

    at_a_desk(story)


def test_tags_of_a_flow_in_events_are_a_minute_old_at_most() -> None:
    async def story(desk: Desk) -> None:
        run = desk.server.schedule(POOL.name)
        [(flow_id, flow)] = desk.server.flows.items()

        async def tag() -> bool:
            related = (await desk.prepared(run)).related
            return any("new-tag" in resource["prefect.resource.id"] for resource in related)

        assert not await tag()
        desk.server.flows[flow_id] = replace(flow, tags=("new-tag",))
        assert not await tag(), "it is not read for each run"
        desk.time += FLOW_SECONDS
        assert await tag()

    at_a_desk(story)


def test_the_record_shows_no_secrets_that_the_run_inherits() -> None:
    async def story(desk: Desk) -> None:
        command = "mysql --password {{ $DB_PASSWORD }} swordfish"
        await desk.orchestrator.update_base_job_template(
            POOL.name, {"job_configuration": {"command": command}}
        )
        preparation = await desk.prepared(desk.server.schedule(POOL.name))
        assert preparation.order.argv == ("mysql", "--password", "hunter22", "swordfish")
        assert preparation.summary.command == "mysql --password ******** ********"

    at_a_desk(story)
