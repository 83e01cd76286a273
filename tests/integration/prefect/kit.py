"""Workers, pools and questions for tests against real Prefect servers."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote

from actors import ActorSystem, Settings
from actors.domain.ports import Orchestrator
from actors.prefect_api.settings.profile import load_profile
from tests.integration.keeper.kit import ended
from tests.integration.prefect.flow_programs import BROKEN_FLOW, write_flows
from tests.support.prefect_admin import PrefectAdmin
from tests.support.prefect_server import PrefectServer

PATIENCE: Final = 60.0
"""Seconds until a wait for something that must happen counts as failed."""

PAUSE: Final = 0.1
"""Seconds between two questions to a server."""

TERMINAL: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})

ACTOR_WORKER: Final = (sys.executable, "-m", "actors")
ROOT: Final = Path(__file__).parents[3]

T = TypeVar("T")

Connect = Callable[[], AbstractAsyncContextManager[Orchestrator]]
"""Gives a worker its orchestrator, on the worker's loop."""


def until(
    ask: Callable[[], T], true: Callable[[T], object] = bool, *, patience: float = PATIENCE
) -> T:
    """Ask until the answer is as wanted; that answer. Fails with the last one after ``patience``.

    Servers tell nobody of what changes, so that asking again is how to wait for it.
    """
    end = time.monotonic() + patience
    while not true(answer := ask()):
        assert time.monotonic() < end, f"after {patience:g} s it is still {answer!r}"
        time.sleep(PAUSE)
    return answer


def shell(script: str, *arguments: str) -> str:
    """A command that runs a shell script."""
    return shlex.join(["sh", "-c", script, "sh", *arguments])


@dataclass
class Place:
    """A work pool of its own on a server, a folder, and the hands of a user."""

    server: PrefectServer
    folder: Path
    pool: str = field(default_factory=lambda: f"pool {uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        self.admin = PrefectAdmin(self.server)
        self._names = iter(range(1_000_000))

    @property
    def server_series(self) -> tuple[int, ...]:
        """Such as (3, 8)."""
        version: str = self.admin.request("GET", "/admin/version")
        return tuple(map(int, version.split(".")[:2]))

    @property
    def pool_path(self) -> str:
        return f"/work_pools/{quote(self.pool)}"

    def create_pool(self, **fields: Any) -> None:
        self.admin.create_pool(self.pool, **fields)

    def change_pool(self, **fields: Any) -> None:
        self.admin.request("PATCH", self.pool_path, fields)

    def read_pool(self) -> Any:
        return self.admin.request("GET", self.pool_path)

    def create_queue(self, name: str, **fields: Any) -> None:
        self.admin.request("POST", f"{self.pool_path}/queues", {"name": name, **fields})

    def deploy(self, command: str | None = None, **fields: Any) -> str:
        """A deployment, of a plain command as a rule; its id."""
        job: dict[str, Any] = dict(fields.pop("job_variables", {}))
        if command is not None:
            job["command"] = command
        name = f"{self.pool} {next(self._names)}"
        return self.admin.create_deployment(name, self.pool, job_variables=job, **fields)

    def deploy_flow(self, name: str, **fields: Any) -> str:
        """A deployment of a flow of ``flow_programs``, which are in a folder of their own.

        Engines copy all of it to where they work.
        """
        code = self.folder / "code"
        write_flows(code)
        file = "broken.py" if name == BROKEN_FLOW else "flows.py"
        fields.setdefault("flow_id", self.admin.create_flow(name))
        return self.deploy(path=str(code), entrypoint=f"{file}:{name}", **fields)

    def run(self, command: str | None = None, **job: Any) -> str:
        """A due run of a new deployment of a plain command with these job variables; its id."""
        return self.admin.create_run(self.deploy(command, job_variables=job))

    def state(self, run: str) -> Any:
        return self.admin.read_run(run)["state"]

    def history(self, run: str) -> list[Any]:
        """All states of the run, oldest first."""
        states = self.admin.request("GET", f"/flow_run_states/?flow_run_id={run}")
        return sorted(states, key=lambda state: state["timestamp"])

    def state_once(self, run: str, *types: str, patience: float = PATIENCE) -> Any:
        """The run's state, once it is of one of these types (default: any terminal one)."""
        wanted: Collection[str] = types or TERMINAL
        return until(
            lambda: self.state(run), lambda state: state["type"] in wanted, patience=patience
        )

    def run_log(self, run: str) -> list[str]:
        return [line["message"] for line in self.admin.logs_of(run)]

    def log_once(self, run: str, words: str) -> str:
        """The first line of the run's log in the API with these words in it."""
        found = until(lambda: [line for line in self.run_log(run) if words in line])
        return found[0]

    def events(self, **filters: Any) -> list[Any]:
        """The worker's events on the server, oldest first."""
        body = {"filter": {"event": {"prefix": ["prefect.worker."]}, "order": "ASC", **filters}}
        events: list[Any] = self.admin.request("POST", "/events/filter", body)["events"]
        return events

    def events_about(self, run: str) -> list[Any]:
        return self.events(any_resource={"id": [f"prefect.flow-run.{run}"]})

    def started_by(self, name: str) -> list[str]:
        """Lines that commands wrote into the folder's file ``name``."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def python(self) -> str:
        return self.server.python

    def variables(self) -> dict[str, str]:
        """Prefect's settings as a worker of this server has them."""
        variables = {
            "PREFECT_API_URL": self.server.api_url,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.2",
        }
        if self.server.auth_string is not None:
            variables["PREFECT_API_AUTH_STRING"] = self.server.auth_string
        return variables

    def settings(self, *, variables: Mapping[str, str] | None = None, **given: Any) -> Settings:
        environ = self.variables() | dict(variables or {})
        values: dict[str, Any] = {
            "pool": self.pool,
            "name": f"worker of {self.pool}",
            "python": self.python,
            "state_dir": self.folder / "state",
            "query_seconds": 0.5,
            "heartbeat_seconds": 5.0,
            "embedded": True,
            "prefect": load_profile(environ, cwd=self.folder, home=self.folder),
        }
        return Settings(**values | given)

    # -- workers ---------------------------------------------------------------------------

    @contextmanager
    def worker(
        self,
        *,
        variables: Mapping[str, str] | None = None,
        connect: Connect | None = None,
        **given: Any,
    ) -> Iterator[Worker]:
        """A worker as a library, in a thread of its own; its keeper and runs end with it.

        ``connect`` gives it another orchestrator than the one of its settings.
        """
        with Worker(self.settings(variables=variables, **given), connect) as worker:
            yield worker

    @contextmanager
    def worker_program(
        self,
        *options: str,
        variables: Mapping[str, str] | None = None,
        url: str | None = None,
        command: Sequence[str] = ACTOR_WORKER,
        cwd: Path = ROOT,
    ) -> Iterator[WorkerProgram]:
        """``actor-worker start`` as a process; killed at the end if it is still there."""
        environment = self._environment(variables, url)
        program = WorkerProgram(self, [*command, "start"], options, environment, cwd)
        try:
            yield program
        finally:
            program.kill()

    def _environment(self, variables: Mapping[str, str] | None, url: str | None) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "ACTOR_WORKER_"))
        }
        own = self.variables() | ({"PREFECT_API_URL": url} if url else {})
        return inherited | own | dict(variables or {})


class Worker:
    """A worker in a thread of this process. Whatever ends it early is raised at the end."""

    def __init__(self, settings: Settings, connect: Connect | None = None) -> None:
        self._settings = settings
        self._connect = connect
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._system: ActorSystem | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="worker")

    def __enter__(self) -> Worker:
        self._thread.start()
        assert self._up.wait(PATIENCE)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._leave is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # it closed its loop meanwhile
                self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def finish(self) -> None:
        """Let it see its runs through, take no more, and stop."""
        assert self._loop is not None
        assert self._system is not None
        self._loop.call_soon_threadsafe(self._system.drain)
        self.stopped()

    def stopped(self) -> None:
        """Wait until it has stopped by itself; raises what it gave up with."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            asyncio.run(self._life())
        except Exception as error:
            self._failure = error
        finally:
            self._up.set()

    async def _life(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            other = None
            if self._connect is not None:
                other = await stack.enter_async_context(self._connect())
            self._system = system = ActorSystem(self._settings, orchestrator=other)
            await stack.enter_async_context(system)
            self._up.set()
            over = asyncio.ensure_future(system.wait())
            leave = asyncio.ensure_future(self._leave.wait())
            await asyncio.wait([over, leave], return_when=asyncio.FIRST_COMPLETED)
            leave.cancel()
            if over.done():
                over.result()
            over.cancel()
            await asyncio.wait([over, leave])


class WorkerProgram:
    """``actor-worker start`` as a process of its own; what it prints is in a file."""

    def __init__(
        self,
        place: Place,
        command: Sequence[str],
        options: tuple[str, ...],
        environment: dict[str, str],
        cwd: Path,
    ) -> None:
        self.log = place.folder / f"worker-{uuid.uuid4().hex[:8]}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(*command, "--pool", place.pool),
                    *("--python", place.python, "--state-dir", str(place.folder / "state")),
                    *("--query-seconds", "0.5", "--log-format", "json", *options),
                ],
                env={"ACTOR_WORKER_EMBEDDED": "true"} | environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def printed(self) -> str:
        return self.log.read_text()

    def said(self, words: str) -> None:
        """Wait until it has printed these words."""
        until(lambda: self.printed, lambda printed: words in printed)

    def ended(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        return self.process.wait(PATIENCE)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, if it is there, as a machine would: without a chance to say anything."""
        self.process.kill()
        self.process.wait()


def get(url: str) -> tuple[int, Any]:
    """Status and JSON of an answer; (0, None) where nothing listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, None


def moment(text: str) -> datetime:
    """A time as servers write it."""
    return datetime.fromisoformat(text)


def end_keepers(pids: Collection[int]) -> None:
    """End keepers that would linger for a next worker, and wait until they are gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    assert all(ended(pid) for pid in pids)
