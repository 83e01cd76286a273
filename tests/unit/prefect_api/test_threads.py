from __future__ import annotations

import asyncio
import threading

import pytest

from actors.prefect_api.http.threads import ThreadPool


def test_calls_run_in_other_threads_that_end_with_the_pool() -> None:
    async def main() -> None:
        pool = ThreadPool(3, name="test")
        here = threading.current_thread()
        assert await pool.run(threading.current_thread) is not here
        await pool.aclose()
        await pool.aclose()
        assert not [t for t in threading.enumerate() if t.name.startswith("test-")]
        with pytest.raises(RuntimeError):
            await pool.run(threading.current_thread)

    asyncio.run(main())


def test_no_call_waits_behind_one_that_blocks_while_there_may_be_more_threads() -> None:
    async def main() -> None:
        pool = ThreadPool(2, name="test")
        release = threading.Event()
        busy = asyncio.create_task(pool.run(lambda: release.wait(60)))
        await asyncio.sleep(0)
        await pool.run(release.set)
        assert await busy
        await pool.aclose()

    asyncio.run(main())


def test_no_more_threads_than_allowed() -> None:
    async def main() -> None:
        pool = ThreadPool(2, name="test")
        before = threading.active_count()
        seen = await asyncio.gather(*(pool.run(threading.active_count) for _ in range(20)))
        assert max(seen) <= before + 2
        await pool.aclose()

    asyncio.run(main())


def test_errors_come_to_the_caller() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def main() -> None:
        pool = ThreadPool(1, name="test")
        with pytest.raises(ZeroDivisionError):
            await pool.run(fail)
        await pool.aclose()

    asyncio.run(main())


def test_a_cancelled_call_that_has_not_begun_is_dropped() -> None:
    async def main() -> None:
        pool = ThreadPool(1, name="test")
        release, ran = threading.Event(), threading.Event()
        busy = asyncio.create_task(pool.run(lambda: release.wait(60)))
        dropped = asyncio.create_task(pool.run(ran.set))
        await asyncio.sleep(0)
        dropped.cancel()
        await asyncio.wait([dropped])
        release.set()
        assert await busy
        await pool.aclose()
        assert not ran.is_set()

    asyncio.run(main())
