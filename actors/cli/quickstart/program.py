"""Quickstart's steps: server, pool and deployments, worker, runs, table."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, TextIO

from ...app.prefect_python import PrefectPython, check, find
from ...domain.errors import OrchestratorError, Unavailable, WorkerError
from .api import POOL, SampleRun, ServerApi
from .folder import FLOWS, QuickstartFolder
from .programs import Program, environment, sweep
from .screen import Screen, table

HOST: Final = "127.0.0.1"

SERVER_SECONDS: Final = 180.0
"""How long the server may take to answer; 10 s is usual, the first start migrates a database."""
RUNS_SECONDS: Final = 240.0
"""How long the four runs may take; 15 s is usual."""
END_SECONDS: Final = 45.0
"""How long a program may take to end: the worker gives its runs their grace period first."""
LOOK_SECONDS: Final = 0.5
"""How often the server is asked how the runs are."""

EXPECTED: Final = {
    "succeeds": "Completed",
    "fails": "Failed",
    "crashes": "Crashed",
    "gets-cancelled": "Cancelled",
}
"""The sample flows, and how a run of each is to end."""


def remove(folder: QuickstartFolder, stream: TextIO) -> None:
    """Remove what a quickstart in ``folder`` made. StateFolderError: it is still running."""
    if not folder.exists():
        print(f"There is nothing to remove: no quickstart was run in {folder.path}.", file=stream)
        return
    with folder.held():
        sweep(folder)
        folder.remove()
    print(f"Removed {folder.path} and everything in it.", file=stream)


def run(
    folder: QuickstartFolder, stream: TextIO, *, python: str | None = None, once: bool = False
) -> int:
    """Run the sample flows; 0 when every run ended as expected, else 1.

    ``python`` is the value of ``--python``; None: found. With ``once`` it ends when the runs are
    over, else at a KeyboardInterrupt. WorkerError: something could not be done. All programs that
    it started are ended in every case; a further KeyboardInterrupt kills them.
    """
    screen = Screen(stream)
    prefect = asyncio.run(check(find(python)))
    folder.prepare()
    with ExitStack() as at_end:
        at_end.enter_context(folder.held())
        sweep(folder)
        at_end.callback(sweep, folder)
        try:
            return _run(folder, prefect, once, screen, at_end)
        except BaseException:
            screen.break_off()
            raise
        finally:
            screen.say("Stopping the worker and the server.")


def _run(
    folder: QuickstartFolder,
    python: PrefectPython,
    once: bool,
    screen: Screen,
    at_end: ExitStack,
) -> int:
    screen.say(f"Everything is kept in {folder.path}")
    listener = at_end.enter_context(listen(folder.port))
    folder.port = listener.getsockname()[1]
    address = f"http://{HOST}:{folder.port}"
    api = ServerApi(f"{address}/api", folder.authorization)
    at_end.callback(api.close)

    screen.begin(f"Starting a Prefect {python.version} server at {address}")
    server = start_server(folder, python.executable, listener)
    listener.close()  # the server has its own descriptor: if it ends, nobody listens
    at_end.callback(server.end, END_SECONDS)
    _until_it_answers(server, api, screen)
    screen.end("ready")

    screen.begin(f"Creating the work pool '{POOL}' and a deployment of each sample flow")
    api.ensure_pool()
    deployments = {
        flow: api.deploy(flow, f"{FLOWS}:{flow.replace('-', '_')}", folder.flows)
        for flow in EXPECTED
    }
    screen.end("done")

    screen.say(f"Starting a worker for it; its log is {folder.worker_log}")
    worker = start_worker(folder, python.executable, api.url)
    at_end.callback(worker.end, END_SECONDS)
    runs = [api.run(deployment, flow) for flow, deployment in deployments.items()]
    runs = _until_over(runs, api, (server, worker), screen)

    screen.say()
    screen.say(table(runs, f"{api.pages()}/runs/flow-run/"))
    screen.say()
    as_expected = all(EXPECTED[run.flow] == run.state for run in runs)
    if not as_expected:
        screen.say("Not every run ended as it should have: see the two logs.")
    if once:
        screen.say(f"To look at these pages, let it serve: {folder.command}")
    else:
        screen.say(
            f"The server's pages are at {address}. They ask for what the file"
            f" {folder.authorization_file} says: paste its line where 'admin:pass' is suggested."
        )
        _serve((server, worker), screen)
    screen.say(f"To remove everything it has made: {folder.command} --remove")
    return 0 if as_expected else 1


def _serve(programs: tuple[Program, ...], screen: Screen) -> None:
    """Return at Ctrl-C. WorkerError: a program ended by itself."""
    with suppress(KeyboardInterrupt):
        screen.say("The server and the worker go on. Ctrl-C ends both.")
        while True:
            for program in programs:
                program.must_live()
            time.sleep(LOOK_SECONDS)
    screen.say()


def listen(port: int | None = None) -> socket.socket:
    """A socket that listens on ``port``, so that earlier links stay good, or else on any port.

    WorkerError: no port is free.
    """
    for wanted in (port, 0):
        if wanted is not None:
            with suppress(OSError):
                return socket.create_server((HOST, wanted), backlog=512)
    raise WorkerError(f"There is no free port on {HOST}.")


def start_server(folder: QuickstartFolder, python: Path, listener: socket.socket) -> Program:
    """A Prefect server on SQLite that serves ``listener`` and keeps everything in ``folder``.

    Write access to it means running code here, through the worker. So it asks for the
    authorization, and CORS keeps pages of other sites out.
    """
    port = listener.getsockname()[1]
    address = f"http://{HOST}:{port}"
    return Program(
        "The Prefect server",
        [
            *(str(python), str(Path(__file__).with_name("prefect_server.py"))),
            str(listener.fileno()),
        ],
        env=environment(
            folder,
            PREFECT_SERVER_API_AUTH_STRING=folder.authorization,
            PREFECT_SERVER_CORS_ALLOWED_ORIGINS=address,
            # where the pages find the API, and where the server unpacks them: by default into
            # Prefect's own package
            PREFECT_SERVER_API_HOST=HOST,
            PREFECT_SERVER_API_PORT=str(port),
            PREFECT_SERVER_UI_API_URL=f"{address}/api",
            PREFECT_SERVER_UI_STATIC_DIRECTORY=str(folder.prefect_home / "pages"),
        ),
        cwd=folder.path,
        log=folder.server_log,
        pass_fds=[listener.fileno()],
    )


def start_worker(folder: QuickstartFolder, python: Path, api_url: str) -> Program:
    """The worker, started as a person would start it."""
    return Program(
        "The worker",
        [
            *(sys.executable, "-P", "-m", "actors", "start"),
            *("--pool", POOL, "--name", "quickstart", "--python", str(python)),
            *("--state-dir", str(folder.state), "--log-format", "json"),
            # it ends when it is told to, and its runs with it
            *("--drain-seconds", "0", "--on-deadline", "terminate"),
        ],
        env=environment(
            folder,
            PREFECT_API_URL=api_url,
            PREFECT_API_AUTH_STRING=folder.authorization,
            PREFECT_WORKER_QUERY_SECONDS="1",
            ACTOR_WORKER_EMBEDDED="true",
        ),
        cwd=folder.path,
        log=folder.worker_log,
    )


def _until_it_answers(server: Program, api: ServerApi, screen: Screen) -> None:
    deadline = time.monotonic() + SERVER_SECONDS
    while True:
        server.must_live()
        try:
            api.version()
        except OrchestratorError:
            if time.monotonic() > deadline:
                raise WorkerError(
                    f"The server did not answer within {SERVER_SECONDS:.0f} s."
                    f" Its last words:\n{server.last_words()}"
                ) from None
        else:
            return
        time.sleep(LOOK_SECONDS)
        screen.tick()


def _until_over(
    runs: list[SampleRun], api: ServerApi, programs: tuple[Program, ...], screen: Screen
) -> list[SampleRun]:
    """Follow the runs until all are over or time is up; cancel the one that waits for that."""
    deadline = time.monotonic() + RUNS_SECONDS
    cancelled = False
    while not all(run.over for run in runs) and time.monotonic() < deadline:
        for program in programs:
            program.must_live()
        time.sleep(LOOK_SECONDS)
        try:
            now = [run if run.over else api.look(run) for run in runs]
        except Unavailable:
            continue
        for before, after in zip(runs, now, strict=True):
            if before.state != after.state:
                screen.say(f"  {after.flow}: {after.state}")
            if after.flow == "gets-cancelled" and after.state == "Running" and not cancelled:
                api.cancel(after)
                cancelled = True
        runs = now
    return runs
