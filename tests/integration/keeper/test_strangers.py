"""Peers on the keeper's socket that are not the worker: they get nothing and cost nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import KeeperError
from actors.journal.state_folder import StateFolder
from actors.keeper.constants import PROTOCOL, PROVE, UNPROVED, WITHOUT_PROOF
from actors.keeper.protocol import MAX_HELLO, encode
from actors.keeper.server import MAX_STRANGERS
from actors.processes.launcher import KeeperLauncher, KeeperOptions
from tests.integration.keeper.kit import (
    PATIENCE,
    Facts,
    Stranger,
    descriptors_of,
    lasting,
    marked,
    on_loop,
    python,
    shell,
)
from tests.integration.keeper.scripted_keeper import scripted_keeper

PACKAGE = Path(__file__).parents[3] / "actors"

HELLO = {"op": "hello", "protocol": PROTOCOL, "id": 1}

ATTACK = f"""
import os, socket, sys
sys.path.append({str(PACKAGE)!r})
from keeper.protocol import Decoder, encode
os.chdir(FOLDER)
peer = socket.socket(socket.AF_UNIX)
peer.connect("keeper.sock")
lock = os.open("worker.lock", os.O_RDWR)
for proof in [], [lock]:
    hello = encode({HELLO!r} | ({{"fds": 1}} if proof else {{}}))
    socket.send_fds(peer, [hello], proof)
    print(Decoder().feed(peer.recv(4096))[0]["error"])
print("hung up", peer.recv(4096) == b"")
"""


@on_loop
async def test_a_run_cannot_take_the_keeper_from_its_worker(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.spawn(python(state, ATTACK.replace("FOLDER", repr(str(state.path)))), facts)
        assert (await facts.exited()).code == 0
        assert facts.lines == [PROVE, UNPROVED, "hung up True"]
        await facts.gone()
        assert len(await launcher.table()) == 1


@pytest.mark.parametrize("name", ["keeper.lock", "other", "runs"])
@on_loop
async def test_another_file_proves_nothing(state: StateFolder, name: str) -> None:
    async with lasting(state) as launcher:
        (state.path / "other").touch()
        wrong = os.open(state.path / name, os.O_RDONLY)
        with Stranger(state) as stranger:
            stranger.say({**HELLO, "fds": 1}, wrong)
            assert stranger.heard() == {"id": 1, "error": UNPROVED}
            assert stranger.heard() is None
        os.close(wrong)
        assert await launcher.table() == []


@on_loop
async def test_who_does_not_prove_anything_when_asked_is_hung_up_on(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        with Stranger(state) as stranger:
            stranger.say(HELLO)
            stranger.say(HELLO)
            assert stranger.heard() == {"id": 1, "error": PROVE}
            assert stranger.heard() == {"id": 1, "error": UNPROVED}
            assert stranger.heard() is None
        assert await launcher.table() == []


@on_loop
async def test_of_too_many_silent_strangers_the_oldest_go(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        assert launcher.keeper_pid is not None
        before = descriptors_of(launcher.keeper_pid)
        with ExitStack() as strangers:
            silent = [strangers.enter_context(Stranger(state)) for _ in range(3 * MAX_STRANGERS)]
            for stranger in silent[:-MAX_STRANGERS]:
                assert stranger.heard() is None
            assert descriptors_of(launcher.keeper_pid) <= before + MAX_STRANGERS
            async with lasting(state) as newest:
                assert await newest.table() == []


@pytest.mark.parametrize(
    "data",
    [
        (MAX_HELLO + 1).to_bytes(4, "big"),
        (MAX_HELLO).to_bytes(4, "big") + b"[" * MAX_HELLO,
    ],
    ids=["long", "deep"],
)
@on_loop
async def test_a_long_or_deep_hello_ends_that_conversation_only(
    state: StateFolder, data: bytes
) -> None:
    async with lasting(state) as launcher:
        with Stranger(state) as stranger:
            stranger.send(data)
            assert stranger.heard() is None
        assert await launcher.table() == []


@on_loop
async def test_a_worker_that_talks_too_deeply_is_hung_up_on_and_comes_back(
    state: StateFolder,
) -> None:
    async with lasting(state) as launcher:
        facts, wanted = Facts(), shell(state, "echo ready; exec sleep 1000")
        await launcher.spawn(wanted, facts)
        assert state.lock is not None
        with Stranger(state) as worker:
            worker.say({**HELLO, "fds": 1}, state.lock)
            assert worker.heard() is not None
            worker.send((500_000).to_bytes(4, "big") + b"[" * 500_000)
            while worker.heard() is not None:
                pass
    async with lasting(state) as launcher:
        assert marked([wanted.key]) != []
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        while not (await launcher.table())[0].tree_ended:
            pass


def settled_descriptors(worker: Stranger, launcher: KeeperLauncher) -> int:
    """How many descriptors the keeper holds once it has done with what it was sent before."""
    assert launcher.keeper_pid is not None
    worker.say({"id": 3, "op": "table"})
    assert worker.heard() is not None
    return descriptors_of(launcher.keeper_pid)


@on_loop
async def test_descriptors_that_nobody_expects_are_closed(state: StateFolder) -> None:
    async with lasting(state) as launcher:
        assert state.lock is not None
        with Stranger(state) as worker:
            worker.say({**HELLO, "fds": 1}, state.lock)
            assert worker.heard() is not None
            before = settled_descriptors(worker, launcher)
            unknown = {"op": "adopt", "key": "x", "what": "pipe", "position": 0}
            for request in ({"op": "table"}, {"op": "table", "fds": 1}, {**unknown, "fds": 1}):
                for _ in range(50):
                    worker.say({"id": 2, **request}, state.lock, state.lock)
                    assert worker.heard() is not None
            assert settled_descriptors(worker, launcher) == before


@on_loop
async def test_a_keeper_that_hangs_does_not_keep_the_folder_from_the_next_worker(
    state: StateFolder,
) -> None:
    """The proof would hold the lock as long as it lies unread."""
    async with lasting(state) as launcher:
        assert launcher.keeper_pid is not None
        keeper = launcher.keeper_pid
        os.kill(keeper, signal.SIGSTOP)
    try:
        hurried = KeeperLauncher(state, KeeperOptions(linger_seconds=0.0, answer_seconds=0.1))
        with pytest.raises(KeeperError, match="has not answered"):
            await hurried.start()
        await hurried.aclose()
        state.release()
        with StateFolder(state.path) as successor:
            assert successor.try_lock()
    finally:
        os.kill(keeper, signal.SIGCONT)


@on_loop
async def test_a_keeper_of_the_version_without_proof_stays_of_use(state: StateFolder) -> None:
    async with scripted_keeper(state) as keeper:
        keeper.speaks = keeper.greeting["protocol"] = WITHOUT_PROOF
        async with lasting(state) as launcher:
            assert await launcher.table() == []
            keeper.speaks = keeper.greeting["protocol"] = PROTOCOL
            keeper.hang_up()
            await keeper.until_greeted(2)
            assert await launcher.table() == []


@on_loop
async def test_a_worker_that_is_replaced_is_told_so_and_does_not_come_back(
    state: StateFolder,
) -> None:
    told: asyncio.Queue[KeeperError] = asyncio.Queue()
    async with scripted_keeper(state) as keeper, lasting(state) as launcher:
        launcher.on_failure(told.put_nowait)
        keeper.tell({"fact": "replaced"})
        async with asyncio.timeout(PATIENCE):
            assert "taken over" in str(await told.get())
            launcher.on_failure(told.put_nowait)  # too late, but it is told, too
            assert "taken over" in str(await told.get())
        keeper.hang_up()
        with pytest.raises(KeeperError, match="taken over"):
            await launcher.table()
        assert keeper.greeted == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        (500_000).to_bytes(4, "big") + b"[" * 500_000,
        encode({"run": {}}),
        encode({"id": []}),
        encode({"fact": "keep", "fds": 1}),
    ],
)
@on_loop
async def test_a_keeper_that_talks_nonsense_costs_the_connection_only(
    state: StateFolder, nonsense: bytes
) -> None:
    with capture_logs() as logs:
        async with scripted_keeper(state) as keeper, lasting(state) as launcher:
            keeper.send(nonsense)
            await keeper.until_greeted(2)
            assert await launcher.table() == []
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["keeper.nonsense"]
