"""Who gets a permit, in which order, and what is learned from the answers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from actors.prefect_api.http.concurrency import (
    FAIR_TURN,
    AdaptiveLimit,
    ConcurrencyLimiter,
    Priority,
)


class Crowd:
    """Requests that hold a permit until they may leave."""

    def __init__(self, limiter: ConcurrencyLimiter) -> None:
        self.limiter = limiter
        self.entered: list[str] = []
        self.leave = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def send(self, priority: Priority, *names: str) -> None:
        self.tasks += [asyncio.create_task(self._hold(priority, name)) for name in names]

    async def _hold(self, priority: Priority, name: str) -> None:
        async with self.limiter.permit(priority):
            self.entered.append(name)
            await self.leave.wait()

    async def see_through(self) -> list[str]:
        self.leave.set()
        await asyncio.gather(*self.tasks)
        assert self.limiter.in_flight == 0
        return self.entered


def test_as_many_get_a_permit_as_the_limit_allows_in_order() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(AdaptiveLimit(maximum=2))
        crowd = Crowd(limiter)
        crowd.send(Priority.STATE, *"abcde")
        await asyncio.sleep(0)
        assert (crowd.entered, limiter.in_flight) == (["a", "b"], 2)
        assert await crowd.see_through() == list("abcde")

    asyncio.run(main())


def test_claims_come_first_and_details_last_whatever_came_before() -> None:
    async def main() -> None:
        crowd = Crowd(ConcurrencyLimiter(AdaptiveLimit(maximum=1)))
        crowd.send(Priority.READ, "first")
        await asyncio.sleep(0)
        crowd.send(Priority.DETAIL, "pid", "label")
        crowd.send(Priority.READ, "deployment")
        crowd.send(Priority.STATE, "claim", "report")
        await asyncio.sleep(0)
        wanted = ["first", "claim", "report", "deployment", "pid", "label"]
        assert await crowd.see_through() == wanted

    asyncio.run(main())


def test_details_do_not_starve_while_claims_keep_coming() -> None:
    async def main() -> None:
        crowd = Crowd(ConcurrencyLimiter(AdaptiveLimit(maximum=1)))
        crowd.send(Priority.READ, "first")
        await asyncio.sleep(0)
        crowd.send(Priority.DETAIL, "pid")
        await asyncio.sleep(0)
        crowd.send(Priority.STATE, *map(str, range(100)))
        await asyncio.sleep(0)
        entered = await crowd.see_through()
        assert entered.index("pid") <= FAIR_TURN

    asyncio.run(main())


def test_polls_and_heartbeats_wait_for_nobody() -> None:
    async def main() -> None:
        crowd = Crowd(ConcurrencyLimiter(AdaptiveLimit(maximum=1)))
        crowd.send(Priority.STATE, "hanging", "waiting")
        crowd.send(Priority.VITAL, "poll", "heartbeat")
        await asyncio.sleep(0)
        assert crowd.entered == ["hanging", "poll", "heartbeat"]
        await crowd.see_through()

    asyncio.run(main())


def test_a_request_that_hangs_gives_its_place_to_the_next_but_not_to_any_number() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(AdaptiveLimit(maximum=2, start=1))
        crowd = Crowd(limiter)
        async with AsyncExitStack() as hanging:
            first = await hanging.enter_async_context(limiter.permit(Priority.STATE))
            crowd.send(Priority.STATE, "next", "last")
            await asyncio.sleep(0)
            assert crowd.entered == []
            limiter.release_early(first)
            limiter.release_early(first)
            await asyncio.sleep(0)
            assert crowd.entered == ["next"]
        await asyncio.sleep(0)
        assert crowd.entered == ["next"]  # its place was given away, so that none became free
        assert await crowd.see_through() == ["next", "last"]

    asyncio.run(main())


def test_what_is_usual_is_learned_from_requests_that_were_alone() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(AdaptiveLimit(maximum=8))
        async with limiter.permit(Priority.STATE) as alone:
            pass
        limiter.answered(alone, "claim", 0.1)
        async with (
            limiter.permit(Priority.STATE) as first,
            limiter.permit(Priority.STATE) as second,
        ):
            pass
        limiter.answered(first, "claim", 0.15)
        limiter.answered(second, "report", 0.15)
        assert limiter.usual.of("claim") == 0.1
        assert not limiter.usual.knows("report")

    asyncio.run(main())


def test_a_first_request_that_was_slow_does_not_let_too_many_in() -> None:
    """The server does one thing at a time, and was busy with something else at first."""

    async def main() -> None:
        limiter = ConcurrencyLimiter(AdaptiveLimit(maximum=8, start=1))
        most = 0
        for number in range(200):
            async with AsyncExitStack() as flying:
                permits = [
                    await flying.enter_async_context(limiter.permit(Priority.STATE))
                    for _ in range(limiter.limit.value)
                ]
            most = max(most, len(permits))
            for permit in permits:
                limiter.answered(permit, "claim", 1.0 if number == 0 else 0.1 * len(permits))
        assert most <= 3
        assert limiter.limit.value <= 2

    asyncio.run(main())


def test_places_of_cancelled_waiters_are_not_lost() -> None:
    async def main() -> None:
        limiter = ConcurrencyLimiter(AdaptiveLimit(maximum=1))

        async def hold() -> None:
            async with limiter.permit(Priority.STATE):
                await asyncio.sleep(0)

        async with limiter.permit(Priority.STATE):
            waiting = [asyncio.create_task(hold()) for _ in range(4)]
            await asyncio.sleep(0)
            waiting[0].cancel()  # while it waits
            await asyncio.sleep(0)
            waiting[1].cancel()  # and has not run yet when the place would be its own
        waiting[2].cancel()  # when the place is its own but it has not run yet
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [True, True, True, False]
        assert limiter.in_flight == 0

    asyncio.run(main())
