"""The two workers that are compared, and what a scenario does with either of them."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from actors.journal.state_folder import StateFolder
from tests.integration.keeper.kit import keepers_of
from tests.integration.prefect.flow_programs import write_flows
from tests.integration.prefect.kit import TERMINAL, Place, end_keepers
from tests.integration.prefect.waiting import until
from tests.integration.prefect.workers import WorkerProgram

PEER: Final = "peer"
OURS: Final = "ours"

LONG: Final = 150.0
"""Seconds until something that a worker may do counts as not done by it: machines are busy."""

PROJECT: Final = {
    "helper.py": "WORD = 'found'\n",
    "project.py": """
import os
import subprocess
import sys
import time

from prefect import flow

NOTES = os.environ["NOTES"]


@flow
def asks_a_child():
    done = subprocess.run([sys.executable, "-c", "import helper; print(helper.WORD)"],
                          capture_output=True, cwd="/", text=True)
    with open(f"{NOTES}/child", "w") as file:
        print(done.stdout.strip() or done.stderr.strip().splitlines()[-1], file=file)


@flow
def outlasts_its_suspension():
    with open(f"{NOTES}/processes", "a") as file:
        print(os.getpid(), file=file)
    while not os.path.exists(f"{NOTES}/go"):
        time.sleep(0.1)
""",
}


@dataclass
class Side:
    """One of the workers, with a work pool and a folder of its own."""

    name: str
    place: Place

    @contextmanager
    def worker(
        self, *options: str, variables: Mapping[str, str] | None = None
    ) -> Iterator[WorkerProgram]:
        """The worker as a process; at the end it and everything it started are ended."""
        if self.name == OURS:
            variables = {"ACTOR_WORKER_EMBEDDED": "false", **(variables or {})}
            with self.place.worker_program(*options, variables=variables) as ours:
                yield ours
            return
        variables = {"PREFECT_WORKER_QUERY_SECONDS": "0.5", **(variables or {})}
        with self.place.prefects_worker(*options, variables=variables) as theirs:
            yield theirs

    def flow(self, name: str, **job: Any) -> str:
        """A due run of a flow of ``flow_programs``; its id."""
        job["env"] = {"NOTES": str(self.place.folder), **job.get("env", {})}
        return self.place.admin.create_run(self.place.deploy_flow(name), job_variables=job)

    def project_flow(self, name: str, **fields: Any) -> str:
        """A due run of a flow of ``PROJECT``; its id."""
        code = self.place.folder / "project"
        write_flows(code)
        for file, text in PROJECT.items():
            (code / file).write_text(text)
        deployment = self.place.deploy(
            path=str(code),
            entrypoint=f"project.py:{name}",
            flow_id=self.place.admin.create_flow(name),
            job_variables={"env": {"NOTES": str(self.place.folder)}},
            **fields,
        )
        return self.place.admin.create_run(deployment)

    def over(self, run: str, *, patience: float = LONG) -> str:
        """The name of the run's state once its worker has said that its process is over."""
        with suppress(AssertionError):
            until(lambda: self._told_of_the_end(run), patience=patience)
            return str(self.place.state(run)["name"])
        return f"{self.place.state(run)['name']}, after {patience:.0f} s"

    def _told_of_the_end(self, run: str) -> bool:
        events = {event["event"] for event in self.place.events_about(run)}
        return "prefect.worker.executed-flow-run" in events

    def state_after(self, run: str, *, patience: float = LONG) -> str:
        """The name of the run's state once it has ended, or is as it is after ``patience``."""
        with suppress(AssertionError):
            return str(self.place.state_once(run, patience=patience)["name"])
        return f"{self.place.state(run)['name']}, after {patience:.0f} s"

    def in_words(self, run: str) -> str:
        """The run's state with the beginning of its message."""
        self.state_after(run)
        state = self.place.state(run)
        message = textwrap.shorten(state["message"] or "no message", 150)
        return f"{state['name']}: {message}"

    def hooks(self, run: str, last: str | None = None) -> str:
        """Which hooks the flow has noted, and whether the engine ran them.

        ``last`` may come after the run's end, within half a minute.
        """
        with suppress(AssertionError):
            until(lambda: last is None or last in self.hooks(run), patience=30)
        pid = str(self.place.admin.read_run(run)["infrastructure_pid"]).rpartition(":")[2]
        lines = [line.split() for line in self.place.started_by(f"hooks-{run}")]
        ran = [f"{name}{'' if by == pid else ' (own process)'}" for name, _, by in lines]
        return "hooks " + (", ".join(ran) or "none")

    def names(self, run: str) -> str:
        """Names of all the run's states."""
        return ", ".join(state["name"] for state in self.place.history(run))

    def has_ended(self, run: str) -> bool:
        return self.place.state(run)["type"] in TERMINAL


@contextmanager
def cleanly(side: Side) -> Iterator[None]:
    """Ends keepers and runs that are left: a folder in their environment tells whose they are."""
    try:
        yield
    finally:
        end_keepers(keepers_of(StateFolder(side.place.folder / "state")))
        for process in _living_in(side.place.folder):
            with suppress(psutil.Error):
                process.kill()


def _living_in(folder: Path) -> Iterator[psutil.Process]:
    home = str(folder / "prefect")
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("PREFECT_HOME") == home:
                yield process
