"""Pools and their queues, as servers keep them: the real ones and ours answer alike."""

from __future__ import annotations

import pytest

from actors.domain.errors import Conflict, Forbidden, NotFound
from tests.contract.conftest import Ask
from tests.contract.worlds import World, some_id, soon

TEMPLATE = {
    "job_configuration": {"command": "{{ command }}"},
    "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
}


def test_a_pool_is_created_once_and_read_back(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        name = f"new {some_id()[:8]}"
        with pytest.raises(NotFound):
            await world.orchestrator.read_work_pool(name)
        created = await world.orchestrator.create_work_pool(name, "process", None)
        assert (created.name, created.type, created.base_job_template) == (name, "process", {})
        assert await world.orchestrator.read_work_pool(name) == created
        with pytest.raises(Conflict):
            await world.orchestrator.create_work_pool(name, "process", None)

    ask(scenario)


def test_a_pool_takes_a_template_at_once_or_later(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        name = f"new {some_id()[:8]}"
        created = await world.orchestrator.create_work_pool(name, "process", TEMPLATE)
        assert created.base_job_template == TEMPLATE
        await world.orchestrator.update_base_job_template(world.pool, TEMPLATE)
        pool = await world.orchestrator.read_work_pool(world.pool)
        assert pool.base_job_template == TEMPLATE

    ask(scenario)


def test_reserved_pool_names_are_forbidden(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(Forbidden):
            await world.orchestrator.create_work_pool("Prefect Mine", "process", None)

    ask(scenario)


def test_what_belongs_to_an_unknown_pool_is_not_found(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        api = world.orchestrator
        with pytest.raises(NotFound):
            await api.send_heartbeat("no such pool", "worker", 30)
        with pytest.raises(NotFound):
            await api.update_base_job_template("no such pool", TEMPLATE)
        with pytest.raises(NotFound):
            await api.read_due_runs("no such pool", [], before=soon())
        assert await api.read_cancelling_runs("no such pool", [], excluding=[]) == []

    ask(scenario)


def test_a_heartbeat_shows_its_worker_online_and_how_often_it_beats(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        assert world.workers() == {}
        await world.orchestrator.send_heartbeat(world.pool, "worker", 30)
        assert world.workers() == {"worker": ("ONLINE", 30)}
        await world.orchestrator.send_heartbeat(world.pool, "worker", 7)
        await world.orchestrator.send_heartbeat(world.pool, "other", 30)
        assert world.workers() == {"worker": ("ONLINE", 7), "other": ("ONLINE", 30)}

    ask(scenario)


def test_queues_are_listed_all_or_by_name(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.add_queue("high", 1)
        read = world.orchestrator.read_work_queues
        assert {queue.name for queue in await read(world.pool, [])} == {"default", "high"}
        assert [queue.name for queue in await read(world.pool, ["high", "none"])] == ["high"]
        assert not (await read(world.pool, ["high"]))[0].is_paused

    ask(scenario)


def test_pool_and_queues_tell_their_concurrency_limits(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        assert (await world.orchestrator.read_work_pool(world.pool)).concurrency_limit is None
        world.limit_pool(7)
        assert (await world.orchestrator.read_work_pool(world.pool)).concurrency_limit == 7
        world.add_queue("narrow", 1, limit=2)
        world.add_queue("last", 3)
        queues = await world.orchestrator.read_work_queues(world.pool, [])
        limits = [(queue.name, queue.concurrency_limit) for queue in queues]
        assert limits == [("narrow", 2), ("default", None), ("last", None)]

    ask(scenario)


def test_a_paused_pool_has_nothing_due(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.schedule(world.deploy())
        world.pause()
        assert (await world.orchestrator.read_work_pool(world.pool)).is_paused
        due = await world.orchestrator.read_due_runs(world.pool, [], before=soon())
        assert (due.runs, due.length, due.may_be_cut) == ((), 0, False)

    ask(scenario)
