"""The hand-shake with an engine that is cancelled, with a scripted engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace

from actors.domain.process import ExitStatus
from actors.journal.state_folder import StateFolder
from actors.processes.launcher import KeeperLauncher
from tests.integration.keeper.kit import (
    PATIENCE,
    Facts,
    embedded,
    ended,
    lasting,
    on_loop,
    python,
    shell,
)
from tests.support.users import NOBODY, as_root

ENGINE = """
import os, signal, socket, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append('signal'))
port, token = os.environ.pop('PREFECT__CONTROL_PORT'), os.environ.pop('PREFECT__CONTROL_TOKEN')
channel = socket.create_connection(('127.0.0.1', int(port)))
channel.sendall(token.encode() + b'\\n')
channel.sendall(b'\\0PF\\x02\\x01')
assert channel.recv(5, socket.MSG_WAITALL) == b'\\0PF\\x02\\x01'
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

IS_STOPPED = """
os.kill(os.getpid(), signal.SIGSTOP)
told.append(channel.recv(1).decode())
channel.sendall(b'a')
while 'signal' not in told: signal.pause()
print(*told)
"""

REPORTS = """
receipt = b'{"disposition":"STATE_REPORTED","state_name":"Suspended"}'
channel.sendall(b'\\x01' + len(receipt).to_bytes(4, 'big') + receipt)
assert channel.recv(1) == b'\\x02'
print('reported')
"""

HANGS_UP = """
channel.close()
print('hung up')
while 'signal' not in told: signal.pause()
print(*told)
"""

SILENT = """
import os, socket
silent = [
    socket.create_connection(('127.0.0.1', int(os.environ['PREFECT__CONTROL_PORT'])))
    for _ in range(30)
]
"""

MAPPED = """
import socket
def create_connection(address):
    channel = socket.socket(socket.AF_INET6)
    channel.connect(('::ffff:' + address[0], address[1]))
    return channel
socket.create_connection = create_connection
"""

OTHER_USER = f"""
import os, signal, socket, sys, time
'x'.encode('idna')  # all that is imported later: another user may not read it
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
"""

NEIGHBOUR = """
channel = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
try:
    if len(sys.argv) > 2: channel.sendall(sys.argv[2].encode() + b'\\n')
    print('closed', channel.recv(1) == b'')
except (ConnectionResetError, BrokenPipeError):
    print('closed', True)
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
        facts, wanted = Facts(), replace(python(state, engine), control_channel=True)
        await launcher.spawn(wanted, facts)
        await (connected(launcher, facts) if stays else facts.line("hung up"))
        await launcher.end_tree(
            wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE, announce_cancel=True
        )
        assert (await facts.exited()).code == 0
        return facts.lines[1:]


@on_loop
async def test_an_engine_is_told_before_the_signal_comes(state: StateFolder) -> None:
    assert await cancelled(state, ENGINE + ANSWERS) == ["c signal"]


@on_loop
async def test_an_engine_that_does_not_answer_gets_the_signal_all_the_same(
    state: StateFolder,
) -> None:
    assert await cancelled(state, ENGINE + IS_SILENT) == ["c signal"]


@on_loop
async def test_an_engine_that_is_stopped_is_woken_to_hear_it(state: StateFolder) -> None:
    assert await cancelled(state, ENGINE + IS_STOPPED) == ["c signal"]


@on_loop
async def test_an_engine_that_hung_up_gets_the_signal(state: StateFolder) -> None:
    assert await cancelled(state, ENGINE + HANGS_UP, stays=False) == ["hung up", "signal"]


@on_loop
async def test_silent_connections_do_not_keep_the_engine_out(state: StateFolder) -> None:
    assert await cancelled(state, SILENT + ENGINE + ANSWERS) == ["c signal"]


@on_loop
async def test_an_engine_may_connect_with_a_socket_of_ipv6(state: StateFolder) -> None:
    assert await cancelled(state, MAPPED + ENGINE + ANSWERS) == ["c signal"]


@on_loop
async def test_what_an_engine_reports_counts_beside_its_exit_code(state: StateFolder) -> None:
    wanted = replace(python(state, ENGINE + REPORTS + "sys.exit(7)"), control_channel=True)
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        assert await facts.exited() == ExitStatus(code=7, reported="Suspended")


@on_loop
async def test_what_an_engine_reports_survives_worker_and_keeper(state: StateFolder) -> None:
    waits = "told.clear()\nwhile not told: signal.pause()\nsys.exit(7)"
    wanted = replace(python(state, ENGINE + REPORTS + waits), control_channel=True)
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        await facts.line("reported")
        keeper = launcher.keeper_pid
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    assert ended(keeper)
    async with lasting(state) as launcher:
        facts = Facts()
        await launcher.watch(wanted.key, facts)
        await launcher.end_tree(wanted.key, signal=signal.SIGTERM, grace_seconds=PATIENCE)
        assert await facts.exited() == ExitStatus(code=None, reported="Suspended")
        await facts.gone()
        await launcher.forget(wanted.key)


@on_loop
async def test_an_engine_that_has_reported_is_not_cancelled_but_given_time_to_end(
    state: StateFolder,
) -> None:
    ends = "while 'signal' not in told: time.sleep(0.01)\n"
    wanted = replace(python(state, ENGINE + REPORTS + ends), control_channel=True)
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        await facts.line("reported")
        await launcher.end_tree(
            wanted.key, signal=signal.SIGTERM, grace_seconds=1.0, announce_cancel=True
        )
        assert await facts.exited() == ExitStatus(code=-9, reported="Suspended")


@as_root
@on_loop
async def test_an_engine_may_be_another_user_than_its_keeper(state: StateFolder) -> None:
    assert await cancelled(state, OTHER_USER + ENGINE + ANSWERS) == ["c signal"]


@as_root
@on_loop
async def test_another_user_is_hung_up_on_even_with_the_token(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        tells = "echo $PREFECT__CONTROL_PORT $PREFECT__CONTROL_TOKEN; exec sleep 1000"
        wanted = replace(shell(state, tells), control_channel=True)
        await launcher.spawn(wanted, facts)
        await facts.until(lambda: bool(facts.lines))
        port, token = facts.lines[0].split()
        for said in ([], [token]):
            neighbour = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", OTHER_USER + NEIGHBOUR, port, *said),
                stdout=subprocess.PIPE,
            )
            out, _ = await asyncio.wait_for(neighbour.communicate(), PATIENCE)
            assert out == b"closed True\n"
        assert not (await launcher.table())[0].control_connected


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
