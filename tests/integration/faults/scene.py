"""Workers that follow each other on one state folder, behind a fault proxy, and their runs.

Only the worker's own requests go through the proxy. Engines go to the server directly (their
deployments say so in ``env``), since they have retries of their own that would only add noise;
and so do the tests.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from actors.journal.state_folder import StateFolder
from actors.keeper import procfs
from tests.integration.keeper.kit import PATIENCE, ended, keepers_of, marked
from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.waiting import until
from tests.integration.prefect.workers import WorkerProgram
from tests.support.fault_proxy import FaultProxy

BEGIN: Final = 'echo "$ACTOR_WORKER_RUN $$" >> "$1/ran-$PREFECT__FLOW_RUN_ID"; '
"""Every script begins with this: which claim it runs for, and its pid."""

GATED: Final = 'until [ -e "$1/go-$PREFECT__FLOW_RUN_ID" ]; do sleep 0.1; done; '
"""Wait until the test lets the run go on."""

WORKER: Final = {
    "ACTOR_WORKER_EMBEDDED": "false",
    # a silent server is given up, and asked again, within seconds
    "PREFECT_API_REQUEST_TIMEOUT": "2",
    "PREFECT_CLIENT_MAX_RETRIES": "1",
}


class Scene:
    """A context manager: a worker that is there at the end is killed."""

    def __init__(self, place: Place, proxy: FaultProxy) -> None:
        self.place = place
        self.proxy = proxy
        self.folder = place.folder
        self.state = StateFolder(place.folder / "state")
        self.kills = 0
        self.keeper_kills = 0
        self._workers = ExitStack()
        self._deployment: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._workers.close()

    # -- workers -------------------------------------------------------------------------------

    def start_worker(self, *options: str) -> WorkerProgram:
        """The next worker; the one before must be gone."""
        program = self.place.worker_program(*options, variables=WORKER, url=self.proxy.url)
        return self._workers.enter_context(program)

    def kill(self, worker: WorkerProgram) -> None:
        """``kill -9``."""
        self.kills += 1
        worker.kill()

    def kill_keeper(self) -> None:
        """Likewise the keeper, if there is one; exit codes of what runs now are lost with it."""
        for pid in keepers_of(self.state):
            self.keeper_kills += 1
            os.kill(pid, signal.SIGKILL)
            assert ended(pid)

    # -- runs ----------------------------------------------------------------------------------

    def run(self, script: str, *arguments: str, **job: Any) -> str:
        """A due run of a shell script, whose ``$1`` is the scene's folder; its id.

        What it begins with proves how often it was started.
        """
        if self._deployment is None:
            self._deployment = self.place.deploy()
        command = shell(BEGIN + script, str(self.folder), *arguments)
        return self.place.admin.create_run(
            self._deployment, job_variables={"command": command, **job}
        )

    def let_go(self, run: str) -> None:
        """Open the gate of a run that waits at one."""
        (self.folder / f"go-{run}").touch()

    def starts(self, run: str) -> list[tuple[str, int]]:
        """Claim and pid of each process that was started for the run."""
        lines = (line.split() for line in self.place.started_by(f"ran-{run}"))
        return [(key, int(pid)) for key, pid in lines]

    def pid_once_started(self, run: str) -> int:
        """Wait until the run has begun; its pid."""
        return until(lambda: self.starts(run))[0][1]

    def files_of(self, run: str, name: str) -> list[Path]:
        """The files of this name in the folders of the run's claims, hooks left out."""
        found = self.state.runs.glob(f"{run}.*/{name}")
        return [path for path in found if not path.parent.name.endswith(".hooks")]

    def keys(self) -> list[str]:
        """Every claim in the state folder."""
        return os.listdir(self.state.runs) if self.state.runs.exists() else []

    def live_keys(self) -> set[str]:
        """The claims of which a process lives."""
        keys = set(self.keys())
        return keys & {procfs.marker(stat.pid) or "" for stat in procfs.processes() if stat.alive}

    # -- what must be true -----------------------------------------------------------------------

    def was_run_once(self, run: str) -> None:
        """One claim, one process for it."""
        starts, types = self.starts(run), self.place.admin.states_of(run)
        claims = {key for key, _ in starts}
        assert len(starts) == len(claims) == types.count("PENDING") == 1, (run, starts, types)

    def ended_as(self, run: str, *types: str, words: str = "") -> None:
        """Wait until the run is over: with these states and no others, after one process."""
        state = self.place.state_once(run)
        found = self.place.admin.states_of(run)
        assert found == ["SCHEDULED", "PENDING", *types], (found, state["message"])
        assert words in (state["message"] or "")
        self.was_run_once(run)

    def nothing_is_left(self) -> None:
        """No process of any run lives."""
        assert marked(self.keys()) == []


def at_once(true: Callable[[], object]) -> None:
    """Wait for something that is gone again soon: look a thousand times a second."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def logged(worker: WorkerProgram, event: str) -> list[dict[str, Any]]:
    """What the worker has logged under this name."""
    found = (json.loads(line) for line in worker.printed.splitlines())
    return [line for line in found if line["event"] == event]


def dumped(worker: WorkerProgram) -> list[dict[str, Any]]:
    """The runs in hand, as the worker itself tells them on SIGUSR1."""
    before = len(logged(worker, "dump.complete"))
    worker.process.send_signal(signal.SIGUSR1)
    dumps = until(lambda: logged(worker, "dump.complete"), lambda dumps: len(dumps) > before)
    runs = logged(worker, "dump.run")
    return runs[len(runs) - dumps[-1]["runs"] :]


@contextmanager
def told(what: str) -> Iterator[None]:
    """Tell in the words of a failure inside what it belongs to."""
    try:
        yield
    except BaseException as error:
        error.add_note(what)
        raise
