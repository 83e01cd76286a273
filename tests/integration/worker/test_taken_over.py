"""A worker whose keeper somebody else has taken over ends, and says why."""

from __future__ import annotations

import asyncio

import pytest

from actors.domain.errors import KeeperError
from tests.integration.keeper.kit import on_loop
from tests.integration.keeper.scripted_keeper import scripted_keeper
from tests.integration.worker.kit import PATIENCE, Workshop


@on_loop
async def test_a_worker_whose_keeper_is_taken_over_ends_and_claims_nothing_more(
    workshop: Workshop,
) -> None:
    """Also with a run that the keeper was asked for and has not started."""
    workshop.state.prepare()
    async with scripted_keeper(workshop.state) as keeper:
        async with workshop.worker(embedded=False) as system:
            claimed = workshop.run("true")
            await workshop.until(lambda: "PENDING" in workshop.server.types_of(claimed))
            keeper.tell({"fact": "replaced"})
            with pytest.raises(KeeperError, match="taken over"):
                await asyncio.wait_for(system.wait(), PATIENCE)
            health = await system.health()
            assert (health.healthy, health.ready) == (False, False)
            assert "taken over" in (health.last_error or "")
            unclaimed = workshop.run("true")
        assert workshop.server.types_of(unclaimed) == ["SCHEDULED"]
