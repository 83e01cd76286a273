"""The watch for leaks sees what it is there to see."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pykka

from actors.runtime import AsyncioActor
from tests.runtime.scribe import forever
from tests.support.leaks import Snapshot


def test_nothing_new_is_nothing_left() -> None:
    assert Snapshot.take().leftovers() == []


def test_a_thread_is_seen() -> None:
    before, gate = Snapshot.take(), threading.Event()
    thread = threading.Thread(target=gate.wait, name="left behind")
    thread.start()
    [words] = before.leftovers_now()
    assert "left behind" in words
    gate.set()
    assert before.leftovers() == []


def test_a_descriptor_is_seen() -> None:
    before = Snapshot.take()
    ends = os.pipe()
    left, kept = before.leftovers(), before.leftovers(keeping=["descriptors"])
    for end in ends:
        os.close(end)
    assert len(left) == 2
    assert all(words.startswith("descriptor ") and "pipe:" in words for words in left)
    assert kept == []


def test_a_child_process_is_seen_as_long_as_nobody_waited_for_it() -> None:
    before = Snapshot.take()
    child = subprocess.Popen([sys.executable, "-c", ""])
    assert before.leftovers() == [f"process {child.pid}"]
    child.wait()
    assert before.leftovers() == []


def test_a_task_is_seen() -> None:
    async def main() -> list[str]:
        before = Snapshot.take()
        task = asyncio.create_task(forever(), name="left behind")
        await asyncio.sleep(0)
        left = before.leftovers()
        task.cancel()
        return left

    [words] = asyncio.run(main())
    assert "left behind" in words


def test_an_actor_is_seen() -> None:
    async def main() -> list[str]:
        before = Snapshot.take()
        ref = AsyncioActor.start()
        left = before.leftovers(keeping=["tasks"])
        await ref.stop(block=False)
        assert before.leftovers() == []
        assert left == [repr(ref)]
        return left

    assert len(asyncio.run(main())) == 1
    assert pykka.ActorRegistry.get_all() == []
