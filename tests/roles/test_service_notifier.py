"""What a service manager hears of a worker, on virtual time."""

from __future__ import annotations

import asyncio

from actors.domain.errors import Unavailable
from actors.domain.policy import OnDeadline
from actors.messages.guardian import Drain, Reexec
from actors.runtime.query import Order
from tests.support.recording_notifier import RecordingNotifier
from tests.support.worker_world import WorkerWorld, play

WATCHDOG = 20.0


async def away(operation: str, phase: str) -> None:
    raise Unavailable("nobody there")


def listening(world: WorkerWorld) -> RecordingNotifier:
    world.notifier = RecordingNotifier(watchdog_seconds=WATCHDOG)
    return world.notifier


def test_it_is_ready_once_the_actors_turn_though_the_server_is_away() -> None:
    async def story(world: WorkerWorld) -> None:
        notifier = listening(world)
        world.orchestrator.faults = away
        await world.start()
        await world.until(lambda: "ready" in notifier.said)
        assert world.clock.monotonic() < 1.0
        assert notifier.statuses == ["No answer from the server yet, 0 flow runs in hand"]
        world.orchestrator.faults = None
        await world.until(lambda: notifier.statuses[-1] == "Polling: 0 flow runs in hand")
        world.orchestrator.faults = away
        await world.until(lambda: notifier.statuses[-1].endswith("in hand: nobody there"))

    play(story)


def test_it_beats_often_enough_while_the_server_is_away() -> None:
    async def story(world: WorkerWorld) -> None:
        notifier = listening(world)
        world.orchestrator.faults = away
        await world.start()
        await asyncio.sleep(10 * WATCHDOG)
        assert notifier.said.count("beat") >= 2 * 10

    play(story)


def test_an_actor_that_does_not_answer_takes_the_beats_away_and_gives_them_back() -> None:
    async def story(world: WorkerWorld) -> None:
        notifier = listening(world)
        await world.start()
        stuck, freed = asyncio.Event(), asyncio.Event()

        class Trap(Order):
            """A message whose handling does not come to an end."""

            async def carry_out(self, actor: object) -> None:
                stuck.set()
                await freed.wait()

        poller = world.actor("poller")
        poller.tell(Trap())
        await stuck.wait()
        await asyncio.sleep(WATCHDOG)
        before = notifier.said.count("beat")
        await asyncio.sleep(5 * WATCHDOG)
        assert notifier.said.count("beat") == before
        freed.set()
        await world.until(lambda: notifier.said.count("beat") > before)

    play(story)


def test_a_draining_worker_asks_for_more_time_until_its_runs_are_over() -> None:
    async def story(world: WorkerWorld) -> None:
        notifier = listening(world)
        _, process = await world.start_running()
        world.guardian.tell(Drain())
        await asyncio.sleep(1000)
        assert notifier.said.count("extend") >= 1000 / 60
        assert "ready" not in notifier.said[notifier.said.index("stopping") :]
        assert notifier.statuses[-1] == "Stopping: 1 flow run in hand"
        process.end(0)
        await world.guardian.joined()

    play(story)


def test_a_worker_that_steps_aside_is_reloading_and_not_stopping() -> None:
    async def story(world: WorkerWorld) -> None:
        notifier = listening(world)
        await world.start_running(on_deadline=OnDeadline.TERMINATE)
        world.guardian.tell(Reexec())
        await world.guardian.joined()
        assert notifier.said[-1] == "reloading"
        assert "stopping" not in notifier.said
        assert len(world.keeper.alive()) == 1
        world.keeper.disconnect()
        await world.start()
        await world.until(lambda: notifier.said[-2:] == ["ready", "beat"])
        assert len(world.supervisors()) == 1

    play(story)


def test_a_worker_that_gives_up_says_that_it_stops() -> None:
    async def story(world: WorkerWorld) -> None:
        notifier = listening(world)
        world.server.add_pool("elsewhere", type="modal:push")
        wiring = await world.start(pool="elsewhere")
        await wiring.guardian.joined()
        assert wiring.guardian.failure is not None
        assert notifier.said[-2:] == ["stopping", "extend"]

    play(story)
