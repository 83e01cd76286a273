from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.cli.systemd import Systemd

UNIT = Path(__file__).parents[3] / "config" / "actor-worker.service"


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket, and the address that it would put into NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0"))
        listener.settimeout(60)
        yield name, listener


def test_what_is_said_arrives_in_systemds_words(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    systemd = Systemd.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "8000000"})
    assert systemd is not None
    assert systemd.watchdog_seconds == 8.0
    systemd.ready()
    systemd.beat()
    systemd.stopping()
    systemd.extend(60.0)
    systemd.status("one\ntwo")
    said = [listener.recv(4096).decode() for _ in range(5)]
    assert said == [
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=60000000",
        "STATUS=one two",
    ]


def test_a_reload_tells_its_time(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    Systemd(address).reloading()
    first, second = listener.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert (name, microseconds.isdecimal()) == ("MONOTONIC_USEC", True)


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_socket_that_we_understand_there_is_no_systemd(environ: dict[str, str]) -> None:
    assert Systemd.from_environment(environ) is None


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),
    ],
)
def test_the_watchdog_counts_where_it_is_meant_for_us(
    environ: dict[str, str], seconds: float | None
) -> None:
    systemd = Systemd.from_environment({"NOTIFY_SOCKET": "/run/x", **environ}, pid=77)
    assert systemd is not None
    assert systemd.watchdog_seconds == seconds


def test_a_manager_that_does_not_read_is_not_waited_for_and_hears_the_newest_later(
    manager: tuple[str, socket.socket],
) -> None:
    address, listener = manager
    listener.setblocking(False)
    systemd = Systemd(address)
    said: list[int] = []

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(int(listener.recv(4096).decode().removeprefix("STATUS=")))

    for number in range(1000):  # more than the queue of a socket takes, unix(7)
        systemd.status(str(number))
    for number in range(1000, 1005):
        read()
        systemd.status(str(number))
    read()
    assert said == sorted(said)
    assert said[-6:] == [999, *range(1000, 1005)]
    assert len(said) < 1000


def test_a_manager_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    Systemd(str(tmp_path / "nobody")).ready()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    text = UNIT.read_text()
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    program = command.removeprefix("ExecStart=").split()[0]
    unit.write_text(text.replace(program, sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert unit.name not in verified.stderr, verified.stderr
    assert verified.returncode == 0, verified.stderr


def test_the_unit_ends_the_worker_alone_and_leaves_the_runs_to_their_keeper() -> None:
    lines = UNIT.read_text().splitlines()
    wanted = {"Type=notify", "KillMode=process", "OOMPolicy=continue", "Delegate=yes"}
    assert wanted <= set(lines)
    assert not any(
        line.startswith(("PrivateTmp=yes", "DynamicUser=", "Runtime")) for line in lines
    )
