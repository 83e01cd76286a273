"""Real Prefect servers for tests: started in an own folder, ended with all they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

VERSIONS: Final = {"3.9": "3.9.1", "3.8": "3.8.8", "3.1": "3.1.15", "3.0": "3.0.0"}
"""The tested versions of Prefect by their series, the newest first."""

NEWEST: Final = next(iter(VERSIONS))

START_SECONDS: Final = 120.0
"""Until a server must have answered; the first start creates its database."""

STOP_SECONDS: Final = 10.0

LOCK_SECONDS: Final = 2.0
"""How long SQLite waits for another writer in these servers; Prefect's own is 60 s.

Prefect's event loop frees database cursors, and for that waits for the mutex of their connection,
which a thread holds as long as it waits for a lock whose owner needs the loop. Then nothing is
answered until the wait is given up. Users see that as a minute's silence under load; tests of
everything else cannot afford it. Afterwards the server answers 503, as ever.
"""

_PROGRAM: Final = """
import logging, socket, sys, uvicorn
from prefect.server.api.server import create_app

if len(sys.argv) > 2:
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    @event.listens_for(Pool, "checkout")
    def wait_less_for_locks(connection, *_):
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {float(sys.argv[2]) * 1000:.0f}")
        cursor.close()

application = create_app()
# It says at this level only why events are not in the database.
logging.getLogger("prefect.server.events.services.event_persister").setLevel(logging.DEBUG)
listener = socket.socket(fileno=int(sys.argv[1]))
server = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_keep_alive=5))
server.run(sockets=[listener])
"""


def interpreter(series: str) -> str | None:
    """The Python that has Prefect of this series, if there is one.

    Named by ``ACTOR_WORKER_TEST_PREFECT_3_9`` and so on. For the newest this interpreter will do,
    if it has that Prefect.
    """
    named = os.environ.get(f"ACTOR_WORKER_TEST_PREFECT_{series.replace('.', '_')}")
    if named:
        return named
    if series != NEWEST:
        return None
    try:
        import importlib.metadata

        version = importlib.metadata.version("prefect")
    except importlib.metadata.PackageNotFoundError:
        return None
    return sys.executable if version.startswith(f"{NEWEST}.") else None


class PrefectServer:
    """A Prefect server on SQLite; a context manager that has it answering inside.

    It listens on ``port`` of the loopback, 0: a free one. Hold the port of a server that is to be
    stopped and started again. ``lock_seconds`` None leaves SQLite as Prefect has it. All its files
    are in ``folder``, which is also its ``PREFECT_HOME``.
    """

    def __init__(
        self,
        python: str,
        folder: Path,
        *,
        auth_string: str | None = None,
        csrf: bool = False,
        lock_seconds: float | None = LOCK_SECONDS,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.python = python
        self.folder = folder
        self.auth_string = auth_string
        self.csrf = csrf
        self.port = port
        self._lock_seconds = lock_seconds
        self._settings = _settings(folder, auth_string, csrf) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """What belongs into ``PREFECT_API_URL``."""
        return f"{self.url}/api"

    @property
    def log(self) -> str:
        """What the server printed so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and return when it answers. RuntimeError, with its output: it did not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            socket.socket() as listener,
            (self.folder / "server.log").open("ab") as log,
        ):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(512)
            self.port = listener.getsockname()[1]
            self._process = subprocess.Popen(
                [
                    *(self.python, "-c", _PROGRAM, str(listener.fileno())),
                    *(() if self._lock_seconds is None else (str(self._lock_seconds),)),
                ],
                cwd=self.folder,
                env=_inherited() | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,
            )
        self._await_health()

    def stop(self) -> None:
        """End it and everything it started; harmless when it is not running."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _await_health(self) -> None:
        """The socket listens already, so a single request waits until the server turns.

        Our copy of the socket is closed: if the server dies instead, the request fails at once.
        """
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.api_url}/health", timeout=START_SECONDS) as answer:
                answer.read()
        except OSError as error:
            self.stop()
            raise RuntimeError(f"Prefect server did not start: {error}\n{self.log}") from error


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}


def _settings(folder: Path, auth_string: str | None, csrf: bool) -> dict[str, str]:
    """Own folder and database; nothing sent anywhere; old and new names of each switch."""
    database = f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
    settings = {
        "HOME": str(folder),
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": str(csrf).lower(),
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        # 30 by default: a run that is put off for want of a slot comes back within a test
        "PREFECT_DEPLOYMENT_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
    }
    if auth_string is not None:
        settings["PREFECT_SERVER_API_AUTH_STRING"] = auth_string
    return settings
