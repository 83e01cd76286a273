"""The hand-shake with an engine that is cancelled (contract 10.4), with a scripted engine."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

from actors.processes.launcher import KeeperLauncher
from actors.processes.state_folder import StateFolder
from tests.integration.processes.kit import (
    PATIENCE,
    Facts,
    embedded,
    ended,
    lasting,
    on_loop,
    python,
    shell,
)

ENGINE = """
import os, signal, socket, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append('signal'))
port, token = os.environ.pop('PREFECT__CONTROL_PORT'), os.environ.pop('PREFECT__CONTROL_TOKEN')
channel = socket.create_connection(('127.0.0.1', int(port)))
channel.sendall(token.encode() + b'\\n')
channel.sendall(b'\\0PF\\x02\\x01')
print('ready')
"""

ANSWERS = """
told.append(channel.recv(1).decode())
channel.sendall(b'a')
while 'signal' not in told: signal.pause()
print(*told)
"""

IS_SILENT = """
told.append(channel.recv(1).decode())
while 'signal' not in told: signal.pause()
print(*told)
"""

HANGS_UP = """
channel.close()
print('hung up')
while 'signal' not in told: signal.pause()
print(*told)
"""

INTRUDER = """
import os, socket
port, token = os.environ['PREFECT__CONTROL_PORT'], os.environ['PREFECT__CONTROL_TOKEN']
for greeting in (b'0' * len(token) + b'\\n', b'x' * 1000, token[:-1].encode() + b'\\n', b'\\n'):
    channel = socket.create_connection(('127.0.0.1', int(port)))
    channel.sendall(greeting)
    try:
        print('closed', channel.recv(1) == b'')
    except ConnectionResetError:
        print('closed', True)
"""


async def connected(launcher: KeeperLauncher, facts: Facts) -> None:
    """Return once the keeper has heard the engine's token."""
    await facts.line("ready")
    async with asyncio.timeout(PATIENCE):
        while not (await launcher.table())[0].control_connected:
            pass


async def cancelled(state: StateFolder, engine: str, *, stays: bool = True) -> list[str]:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), replace(python(state, ENGINE + engine), control_channel=True)
        await launcher.spawn(wanted, facts)
        await (connected(launcher, facts) if stays else facts.line("hung up"))
        await launcher.end_tree(
            wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE, announce_cancel=True
        )
        assert (await facts.exited()).code == 0
        return facts.lines[1:]


@on_loop
async def test_an_engine_is_told_before_the_signal_comes(state: StateFolder) -> None:
    assert await cancelled(state, ANSWERS) == ["c signal"]


@on_loop
async def test_an_engine_that_does_not_answer_gets_the_signal_all_the_same(
    state: StateFolder,
) -> None:
    assert await cancelled(state, IS_SILENT) == ["c signal"]


@on_loop
async def test_an_engine_that_hung_up_gets_the_signal(state: StateFolder) -> None:
    assert await cancelled(state, HANGS_UP, stays=False) == ["hung up", "signal"]


@on_loop
async def test_without_an_engine_on_the_channel_the_signal_comes_at_once(
    state: StateFolder,
) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        wanted = replace(shell(state, "echo ready; exec sleep 1000"), control_channel=True)
        await launcher.spawn(wanted, facts)
        await facts.line("ready")
        await launcher.end_tree(
            wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE, announce_cancel=True
        )
        assert (await facts.exited()).code == -signal.SIGTERM


@on_loop
async def test_who_does_not_know_the_token_is_hung_up_on(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), replace(python(state, INTRUDER), control_channel=True)
        await launcher.spawn(wanted, facts)
        assert (await facts.exited()).code == 0
        assert facts.lines == ["closed True"] * 4


@on_loop
async def test_the_channel_survives_a_worker_and_a_keeper(state: StateFolder) -> None:
    wanted = replace(python(state, ENGINE + ANSWERS), control_channel=True)
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        await connected(launcher, facts)
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.watch(wanted.key, facts)
        keeper = launcher.keeper_pid
        assert keeper is not None
        os.kill(keeper, signal.SIGKILL)
        assert ended(keeper)
        await launcher.end_tree(
            wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE, announce_cancel=True
        )
        await facts.gone()
        assert facts.lines == ["ready", "c signal"]
