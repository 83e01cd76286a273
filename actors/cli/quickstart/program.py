"""The quickstart: a server, a worker and the sample runs as programs, ended in order.

Each program has a session of its own, so that Ctrl-C reaches quickstart alone. They and their
children have the folder's TMPDIR in their environment. By it they are found, even after an
earlier quickstart was killed.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import click
import psutil

from ...app.prefect_python import check, find
from ...domain.errors import WorkerError
from .folder import QuickstartFolder

HOST: Final = "127.0.0.1"
MARK: Final = "TMPDIR"
"""The variable by which a process of a quickstart is known: it names a place in its folder."""

END_SECONDS: Final = 45.0
"""How long a program may take to end: the worker gives its runs their grace period first."""
SWEEP_SECONDS: Final = 5.0
"""How long :func:`sweep` waits after SIGTERM before SIGKILL."""
LOOK_SECONDS: Final = 0.5
"""How often it is checked that the programs live."""

_HERE: Final = Path(__file__).parent


class Program:
    """A running program of ``folder``; its output goes to ``NAME.log`` there."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        folder: QuickstartFolder,
        env: dict[str, str],
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = folder.path / f"{name}.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                env=env,
                cwd=folder.path,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    def must_live(self) -> None:
        """WorkerError: the program has ended by itself; with the end of its log."""
        if (code := self._process.poll()) is not None:
            text = self.log.read_bytes()[-16_384:].decode(errors="replace")
            last = [f"\n  {line}" for line in text.splitlines() if line.strip()][-15:]
            raise WorkerError(
                f"The {self.name} ended by itself with exit code {code}. Its last words"
                f" (all of them in {self.log}):{''.join(last)}"
            )

    def end(self, seconds: float = END_SECONDS) -> None:
        """Send SIGTERM, and after ``seconds`` SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def remove(folder: QuickstartFolder) -> None:
    """Remove what a quickstart in ``folder`` made. StateFolderError: it is still running."""
    if not folder.exists():
        click.echo(f"There is nothing to remove: no quickstart was run in {folder.path}.")
        return
    with folder.held():
        sweep(folder)
        folder.remove()
    click.echo(f"Removed {folder.path} and everything in it.")


def run(folder: QuickstartFolder, *, python: str | None = None, once: bool = False) -> int:
    """Run the sample flows; 0 when every run ended as expected, else 1.

    ``python`` is the value of ``--python``; None: found. With ``once`` it ends when the runs are
    over, else at a KeyboardInterrupt. WorkerError: something could not be done. All programs that
    it started are ended in every case; a further KeyboardInterrupt kills them.
    """
    interpreter = find(python)
    version = asyncio.run(check(interpreter))
    folder.prepare()
    with ExitStack() as at_end:
        at_end.enter_context(folder.held())
        sweep(folder)
        at_end.callback(sweep, folder)
        click.echo(f"Everything is kept in {folder.path}")
        try:
            return _run(folder, interpreter, version, once, at_end)
        finally:
            click.echo("Stopping the worker and the server.")


def _run(
    folder: QuickstartFolder, python: Path, version: str, once: bool, at_end: ExitStack
) -> int:
    with listen(folder) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        click.echo(f"Starting a Prefect {version} server at {address}")
        server = start_server(folder, python, listener)
    at_end.callback(server.end)
    worker = start_worker(folder, python, address)
    at_end.callback(worker.end)
    click.echo(f"Starting a worker for it; its log is {worker.log}")
    samples = at_end.enter_context(
        subprocess.Popen(
            [python, _HERE / "sample_runs.py", folder.flows],
            env=_client_environment(folder, address)
            | {"PREFECT_LOGGING_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"},
            cwd=folder.path,
            start_new_session=True,
        )
    )
    at_end.callback(samples.kill)
    while samples.poll() is None:
        _check_and_wait(server, worker)
    as_expected = samples.returncode == 0
    if not as_expected:
        click.echo(f"Not every run ended as it should have: see {server.log} and {worker.log}.")
    if once:
        click.echo(f"To look at these pages, let it serve: {folder.command}")
    else:
        click.echo(
            f"The server's pages are at {address}. They ask for what the file"
            f" {folder.authorization_file} says: paste its line where 'admin:pass' is suggested.\n"
            "The server and the worker go on. Ctrl-C ends both."
        )
        with suppress(KeyboardInterrupt):
            while True:
                _check_and_wait(server, worker)
    click.echo(f"To remove everything it has made: {folder.command} --remove")
    return 0 if as_expected else 1


def _check_and_wait(*programs: Program) -> None:
    for program in programs:
        program.must_live()
    time.sleep(LOOK_SECONDS)


def listen(folder: QuickstartFolder) -> socket.socket:
    """A listening socket, on the port of the last time if it is free: its links stay good."""
    last = folder.path / "port"
    try:
        listener = socket.create_server((HOST, int(last.read_text())), backlog=512)
    except (OSError, ValueError):
        listener = socket.create_server((HOST, 0), backlog=512)
    last.write_text(str(listener.getsockname()[1]))
    return listener


def start_server(folder: QuickstartFolder, python: Path, listener: socket.socket) -> Program:
    """A Prefect server on SQLite that serves ``listener`` and keeps everything in ``folder``.

    Write access to it means running code here, through the worker. So it asks for the
    authorization, and CORS keeps pages of other sites out.
    """
    port = listener.getsockname()[1]
    address = f"http://{HOST}:{port}"
    settings = {
        "PREFECT_SERVER_API_AUTH_STRING": folder.authorization,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        # where the pages find the API, and where the server unpacks them: by default into
        # Prefect's own package
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder.prefect_home / "pages"),
    }
    return Program(
        "server",
        [python, _HERE / "prefect_server.py", str(listener.fileno())],
        folder,
        environment(folder) | settings,
        pass_fds=[listener.fileno()],
    )


def start_worker(folder: QuickstartFolder, python: Path, address: str) -> Program:
    """The worker, started as a person would start it."""
    settings = {"PREFECT_WORKER_QUERY_SECONDS": "1", "ACTOR_WORKER_EMBEDDED": "true"}
    return Program(
        "worker",
        [
            *(sys.executable, "-P", "-m", "actors", "start"),
            *("--pool", "quickstart", "--name", "quickstart", "--python", python),
            *("--state-dir", folder.path / "state", "--log-format", "json"),
            # it ends when it is told to, and its runs with it
            *("--drain-seconds", "0", "--on-deadline", "terminate"),
        ],
        folder,
        _client_environment(folder, address) | settings,
    )


def environment(folder: QuickstartFolder) -> dict[str, str]:
    """The environment of a program in ``folder``: ours without settings of Prefect or workers."""
    ours = ("PREFECT_", "ACTOR_WORKER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        MARK: str(folder.temporary),
        "PREFECT_HOME": str(folder.prefect_home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _client_environment(folder: QuickstartFolder, address: str) -> dict[str, str]:
    return environment(folder) | {
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_API_AUTH_STRING": folder.authorization,
    }


def sweep(folder: QuickstartFolder, *, seconds: float = SWEEP_SECONDS) -> int:
    """End the processes that a quickstart in ``folder`` left; their number.

    A process counts by the mark in its environment, never by its pid.
    """
    mark = str(folder.temporary)
    found = [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(MARK) == mark and process.pid != os.getpid()
    ]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=seconds)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=SWEEP_SECONDS)
    return len(found)
