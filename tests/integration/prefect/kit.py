"""Work pools, and what users do with them, for tests against real Prefect servers."""

from __future__ import annotations

import json
import os
import shlex
import signal
import urllib.request
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote

from actors import Settings
from actors.prefect_api.settings.profile import load_profile
from tests.integration.keeper.kit import ended
from tests.integration.prefect.flow_programs import BROKEN_FLOW, write_flows
from tests.integration.prefect.waiting import PATIENCE, until
from tests.integration.prefect.workers import ACTOR_WORKER, ROOT, Connect, Worker, WorkerProgram
from tests.support.prefect_admin import PrefectAdmin
from tests.support.prefect_server import PrefectServer

TERMINAL: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


def shell(script: str, *arguments: str) -> str:
    """A command that runs a shell script."""
    return shlex.join(["sh", "-c", script, "sh", *arguments])


@dataclass
class Place:
    """A work pool of its own on a server, a folder, and what a user does with them."""

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
        whole = [
            *(*command, "start", "--pool", self.pool, "--python", self.python),
            *("--state-dir", str(self.folder / "state"), "--query-seconds", "0.5"),
            *("--log-format", "json", *options),
        ]
        program = WorkerProgram(self.folder, whole, environment, cwd)
        try:
            yield program
        finally:
            program.kill()

    @contextmanager
    def prefects_worker(
        self, *options: str, variables: Mapping[str, str] | None = None
    ) -> Iterator[WorkerProgram]:
        """``prefect worker start`` as a process; killed at the end, with the runs it started."""
        prefect = (self.python, "-m", "prefect", "worker", "start")
        whole = [*prefect, "--pool", self.pool, "--type", "process", *options]
        program = WorkerProgram(
            self.folder, whole, self._environment(variables, None), self.folder
        )
        try:
            yield program
        finally:
            program.kill_all()

    def _environment(self, variables: Mapping[str, str] | None, url: str | None) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "ACTOR_WORKER_"))
        }
        own = self.variables() | ({"PREFECT_API_URL": url} if url else {})
        return inherited | own | dict(variables or {})


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
