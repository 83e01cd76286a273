"""The event stream of servers: the real ones and ours tell alike."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from actors.domain.ids import FlowRunId
from actors.domain.model import StateType, WorkerEvent
from actors.domain.server_events import LISTENING, ServerEvent, ServerEventKind
from tests.contract.conftest import Ask
from tests.contract.worlds import PATIENCE_SECONDS, World, soon

WORK, CANCELLING = ServerEventKind.WORK, ServerEventKind.CANCELLING


@asynccontextmanager
async def heard(
    world: World, queues: Collection[str] = ()
) -> AsyncIterator[AsyncIterator[ServerEvent]]:
    """The events of the world's pool, once it is certain that they come."""
    pool = await world.orchestrator.read_work_pool(world.pool)
    probe = str(uuid.uuid4())
    related = {
        "prefect.resource.id": f"prefect.work-pool.{pool.id}",
        "prefect.resource.role": "work-pool",
    }
    event = WorkerEvent(
        id=probe,
        event=LISTENING,
        occurred=datetime.now(UTC),
        resource={"prefect.resource.id": "prefect.worker.process.w"},
        related=(related,),
    )
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        world.event_stream.subscribe(pool.id, queues) as events,
    ):
        first = asyncio.ensure_future(anext(events))
        while not first.done():  # nothing tells when the server has read the filter
            await world.orchestrator.send_events([event])
            await asyncio.wait([first], timeout=1.0)
        assert await first == ServerEvent(id=probe, kind=ServerEventKind.LISTENING)
        yield events


async def until(events: AsyncIterator[ServerEvent], kind: ServerEventKind) -> ServerEvent:
    async for event in events:
        if event.kind is kind:
            return event
    raise AssertionError("the stream has ended")


async def until_run(events: AsyncIterator[ServerEvent], run: FlowRunId) -> ServerEvent:
    async for event in events:
        if event.run_id == run:
            return event
    raise AssertionError("the stream has ended")


def test_a_run_that_is_scheduled_is_told(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        async with heard(world) as events:
            run = world.schedule(world.deploy())
            assert (await until_run(events, run)).kind is WORK

    ask(scenario)


def test_a_run_that_is_cancelled_is_told(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = world.schedule(world.deploy())
        world.set_state(run, StateType.RUNNING)
        async with heard(world) as events:
            world.set_state(run, StateType.CANCELLING)
            assert (await until(events, CANCELLING)).run_id == run

    ask(scenario)


def test_a_pool_that_is_resumed_is_told(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.pause()
        async with heard(world) as events:
            world.resume()
            assert (await until(events, WORK)).run_id is None

    ask(scenario)


def test_a_queue_that_is_resumed_is_told(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.pause_queue("default")
        async with heard(world) as events:
            world.pause_queue("default", paused=False)
            assert (await until(events, WORK)).run_id is None

    ask(scenario)


def test_only_the_chosen_queues_are_told_of(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.add_queue("other", 2)
        deployment = world.deploy()
        async with heard(world, ["other"]) as events:
            world.schedule(deployment)
            run = world.schedule(deployment, queue="other")
            assert (await until(events, WORK)).run_id == run

    ask(scenario)


def test_an_event_that_comes_twice_is_told_once(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        async with heard(world) as events:
            run = world.schedule(world.deploy())
            assert (await until_run(events, run)).kind is WORK
            world.set_state(run, StateType.RUNNING)
            world.set_state(run, StateType.CANCELLING)
            told = [await anext(events)]
            while told[-1].kind is not CANCELLING:
                told.append(await anext(events))
            assert len({event.id for event in told}) == len(told)

    ask(scenario)


def test_other_pools_are_not_told_of(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        other = await world.orchestrator.create_work_pool(f"new {uuid.uuid4()}", "process", None)
        async with world.event_stream.subscribe(other.id, ()) as theirs, heard(world) as ours:
            run = world.schedule(world.deploy())
            await until_run(ours, run)
            nothing = asyncio.ensure_future(anext(theirs))
            await asyncio.wait([nothing], timeout=0.5)
            assert not nothing.done()
            nothing.cancel()
            await asyncio.wait([nothing])

    ask(scenario)


def test_due_runs_are_there_when_they_are_told(ask: Ask) -> None:
    """Servers tell within the transaction: a poll that is as fast as it can be may be too fast."""

    async def scenario(world: World) -> None:
        deployment = world.deploy()
        async with heard(world) as events:
            for _ in range(5):
                run = world.schedule(deployment)
                await until_run(events, run)
                due = await world.orchestrator.read_due_runs(world.pool, [], before=soon())
                assert run in {each.id for each in due.runs}

    ask(scenario)
