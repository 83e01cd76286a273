"""The EventSubscriber: what events start at once, and what happens where there are none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from actors.cancellation_watcher.cancellation_watcher import (
    SAFETY_NET_SECONDS,
    CancellationWatcherView,
)
from actors.domain.errors import Forbidden, OrchestratorError, Unavailable
from actors.domain.model import StateType, WorkerEvent
from actors.event_subscriber import EventSubscriberView
from actors.testing.event_stream import InMemoryEventStream
from tests.support.worker_world import POOL, WorkerWorld, play

RARELY: dict[str, Any] = {"query_seconds": 300.0}
SOON_SECONDS = 5.0


class Heard:
    """A worker that listens."""

    def __init__(self, world: WorkerWorld) -> None:
        self.world = world
        world.stream = self.stream = InMemoryEventStream(world.server)
        self.requests: Counter[str] = Counter()
        world.orchestrator.faults = self._count

    async def _count(self, operation: str, phase: Literal["before", "after"]) -> None:
        self.requests[operation] += phase == "before"

    def _view(self, name: str) -> Any:
        assert self.world.wiring is not None
        ref = self.world.wiring.directory.find(name)
        return None if ref is None else ref.inspect()

    @property
    def subscriber(self) -> EventSubscriberView:
        view: EventSubscriberView = self._view("event_subscriber")
        return view

    @property
    def watcher(self) -> CancellationWatcherView:
        view: CancellationWatcherView = self._view("cancellation_watcher")
        return view

    async def start(self, **settings: Any) -> None:
        await self.world.start(**RARELY | settings)
        await self.until_flowing()

    async def until_flowing(self) -> None:
        await self.world.until(lambda: self.subscriber.flowing and self.watcher.relies_on_events)

    async def soon(self, condition: Callable[[], bool]) -> None:
        """Long before the next poll."""
        began = self.world.clock.monotonic()
        await self.world.until(condition)
        assert self.world.clock.monotonic() < began + SOON_SECONDS


def tell(story: Callable[[Heard], Awaitable[None]]) -> None:
    async def told(around: WorkerWorld) -> None:
        await story(Heard(around))

    play(told)


def test_a_run_is_started_when_it_is_scheduled_not_when_the_next_poll_is_due() -> None:
    async def story(heard: Heard) -> None:
        await heard.start()
        run_id = heard.world.server.schedule(POOL)
        await heard.soon(lambda: heard.world.state(run_id) is StateType.PENDING)

    tell(story)


def test_runs_are_started_when_the_pool_is_resumed() -> None:
    async def story(heard: Heard) -> None:
        heard.world.server.pause_pool(POOL)
        run_id = heard.world.server.schedule(POOL)
        await heard.start()
        heard.world.server.pause_pool(POOL, paused=False)
        await heard.soon(lambda: heard.world.state(run_id) is StateType.PENDING)

    tell(story)


def test_runs_are_started_when_a_queue_is_resumed() -> None:
    async def story(heard: Heard) -> None:
        heard.world.server.pause_queue(POOL, "default")
        run_id = heard.world.server.schedule(POOL)
        await heard.start()
        heard.world.server.pause_queue(POOL, "default", paused=False)
        await heard.soon(lambda: heard.world.state(run_id) is StateType.PENDING)

    tell(story)


def test_a_run_is_cancelled_at_once() -> None:
    async def story(heard: Heard) -> None:
        await heard.start()
        heard.world.keeper.script = heard.world.sleeper
        run_id = heard.world.server.schedule(POOL)
        await heard.world.until_state(run_id, StateType.RUNNING)
        heard.world.server.cancel(run_id)
        await heard.soon(lambda: heard.world.state(run_id) is StateType.CANCELLED)

    tell(story)


def test_many_events_at_once_are_few_polls() -> None:
    async def story(heard: Heard) -> None:
        await heard.start()
        before = heard.requests["read_due_runs"]
        runs = [heard.world.server.schedule(POOL) for _ in range(50)]
        await heard.soon(
            lambda: all(heard.world.state(run) is not StateType.SCHEDULED for run in runs)
        )
        assert heard.requests["read_due_runs"] - before <= 3

    tell(story)


def test_looks_for_cancellations_are_rare_while_events_flow_and_frequent_when_they_stop() -> None:
    async def story(heard: Heard) -> None:
        await heard.start(query_seconds=1.0)
        before = heard.requests["read_cancelling_runs"]
        await asyncio.sleep(10 * SAFETY_NET_SECONDS)
        assert heard.requests["read_cancelling_runs"] - before <= 15
        heard.stream.refusal = Unavailable("away")
        heard.stream.cut()
        await heard.soon(lambda: not heard.watcher.relies_on_events)
        before = heard.requests["read_cancelling_runs"]
        await asyncio.sleep(SAFETY_NET_SECONDS)
        assert heard.requests["read_cancelling_runs"] - before >= 20
        heard.stream.refusal = None
        await heard.until_flowing()

    tell(story)


def test_what_happened_while_the_stream_was_away_is_looked_for_when_it_is_back() -> None:
    async def story(heard: Heard) -> None:
        await heard.start()
        heard.stream.cut()
        await heard.world.until(lambda: heard.subscriber.connected_since is None)
        run_id = heard.world.server.schedule(POOL)
        await heard.soon(lambda: heard.world.state(run_id) is StateType.PENDING)

    tell(story)


@pytest.mark.parametrize("error", [Unavailable("away"), Forbidden("no", status=403)])
def test_a_stream_that_is_not_there_is_said_once_and_tried_ever_less_often(
    error: OrchestratorError,
) -> None:
    async def story(heard: Heard) -> None:
        heard.stream.refusal = error
        await heard.world.start(query_seconds=10.0)
        run_id = heard.world.server.schedule(POOL)
        await heard.world.until_state(run_id, StateType.COMPLETED)
        await asyncio.sleep(3600.0)
        assert heard.subscriber.trouble == str(error)
        assert 10 <= heard.subscriber.failures <= 25
        heard.stream.refusal = None
        await heard.until_flowing()
        assert heard.subscriber.trouble is None

    with capture_logs() as logs:
        tell(story)
    events = [line["event"] for line in logs if line["event"].startswith("events.")]
    assert events == ["events.disconnected", "events.connected"]


def test_a_stream_that_brings_nothing_back_is_not_relied_on() -> None:
    async def story(heard: Heard) -> None:
        heard.stream.pass_on = lambda *_: None  # type: ignore[method-assign]
        await heard.world.start(query_seconds=10.0)
        await heard.world.until(lambda: heard.subscriber.connected_since is not None)
        await asyncio.sleep(50.0)
        assert not heard.watcher.relies_on_events
        await heard.world.until(lambda: heard.subscriber.trouble is not None)
        assert "does not bring back" in (heard.subscriber.trouble or "")
        await heard.world.until(lambda: heard.stream.subscriptions == 0)

    tell(story)


def test_a_pool_that_is_created_anew_is_subscribed_to_anew() -> None:
    async def story(heard: Heard) -> None:
        await heard.start()
        pool = heard.world.server.pools[POOL]
        pool.pool = replace(pool.pool, id=heard.world.server.new_id())
        related = f"prefect.work-pool.{pool.pool.id}"

        def listens(event: WorkerEvent) -> bool:
            return any(each["prefect.resource.id"] == related for each in event.related)

        await heard.world.until(lambda: any(map(listens, heard.world.server.events)))
        await heard.until_flowing()
        assert heard.stream.subscriptions == 1
        run_id = heard.world.server.schedule(POOL)
        await heard.soon(lambda: heard.world.state(run_id) is StateType.PENDING)

    tell(story)


def test_a_subscriber_and_a_watcher_that_fail_are_in_step_again_after_a_heartbeat() -> None:
    async def story(heard: Heard) -> None:
        await heard.start()
        assert heard.world.wiring is not None
        for name in ("cancellation_watcher", "event_subscriber"):
            ref = heard.world.wiring.directory.find(name)
            assert ref is not None
            ref.kill()
            await ref.joined()
            await heard.world.until(lambda: heard.subscriber is not None)
            await heard.world.until(lambda: heard.watcher is not None)
            await heard.until_flowing()
        assert heard.stream.subscriptions == 1

    tell(story)


def test_without_the_setting_nothing_is_subscribed_to() -> None:
    async def story(heard: Heard) -> None:
        await heard.world.start(event_stream=False)
        await asyncio.sleep(100.0)
        assert heard.stream.subscriptions == 0

    tell(story)
