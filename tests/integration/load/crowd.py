"""Short runs of every kind through one worker, and what that worker holds meanwhile.

The processes and the keeper are real, the server is in memory: a real one takes eight times as
long, and would hide nothing that this one shows, since what the worker's HTTP session holds is
bounded by its threads, not by runs. The server forgets runs that are over, so that whatever
piles up in this process is the worker's.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from actors import ActorSystem
from actors.app.wiring import RUN_PREFIX
from actors.domain.ids import DeploymentId, FlowRunId
from actors.domain.model import Json, StateType
from tests.integration.keeper.kit import keepers_of
from tests.integration.worker.kit import POOL, Workshop
from tests.support.leaks import Snapshot


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of run: its command, where it ends, and how many there are of it in a wave."""

    end: StateType
    command: str | None
    times: int = 1

    @property
    def job_variables(self) -> dict[str, Json]:
        if self.command is None:
            return {}
        reported = self.end is not StateType.CRASHED
        return {"command": f"sh -c '{self.command}'", "report_states": reported}


KINDS: Final = (
    Kind(StateType.COMPLETED, "seq 50", 8),
    Kind(StateType.COMPLETED, "setsid sleep 1000 & echo left > left; sleep 0.01", 2),
    Kind(StateType.FAILED, "exit 3", 3),
    Kind(StateType.CRASHED, "kill -9 $$", 3),
    Kind(StateType.CANCELLED, "exec sleep 1000", 2),
    Kind(StateType.PENDING, None, 2),
)
"""The last is an engine, as far as it goes here: with a control channel, and silent."""

FACTOR: Final = 0.5
"""So many objects of a kind per run are a leak. Caches and counters of the libraries are less."""


@dataclass
class Crowd:
    """Waves of runs, all in one folder for temporary directories: ``temp``."""

    workshop: Workshop
    temp: Path
    done: int = 0
    _deployments: dict[Kind, DeploymentId] = field(default_factory=dict)

    async def come_and_go(self, system: ActorSystem) -> None:
        """A wave; return when the worker has let go of all its runs."""
        server = self.workshop.server
        runs = {self._schedule(kind): kind.end for kind in KINDS for _ in range(kind.times)}
        to_cancel = {run for run, end in runs.items() if end is StateType.CANCELLED}

        def over() -> bool:
            for run in list(to_cancel):
                if server.run(run).state.type is StateType.RUNNING:
                    to_cancel.discard(run)
                    server.cancel(run)
            ends = {run: server.run(run).state.type for run in runs}
            return ends == runs and not supervisors(system)

        await self.workshop.until(over)
        for run in runs:
            server.delete_run(run)
        server.logs.clear()
        server.events.clear()
        server.heartbeats.clear()
        self.done += len(runs)

    def _schedule(self, kind: Kind) -> FlowRunId:
        if kind not in self._deployments:
            job = {**kind.job_variables, "env": {"TMPDIR": str(self.temp)}}
            self._deployments[kind] = self.workshop.server.add_deployment(job_variables=job)
        return self.workshop.server.schedule(POOL, deployment_id=self._deployments[kind])


def supervisors(system: ActorSystem) -> list[str]:
    """Names of the actors that see to runs."""
    return [
        name
        for name, ref in system.wiring.directory
        if name.startswith(RUN_PREFIX) and ref.is_alive()
    ]


@dataclass(frozen=True)
class Holdings:
    """What worker and keeper hold at one moment while they have no run."""

    worker: Snapshot
    keeper: psutil.Process
    keeper_descriptors: int
    names: int
    """Of actors in the directory."""

    @classmethod
    def of(cls, crowd: Crowd, system: ActorSystem) -> Holdings:
        [pid] = keepers_of(crowd.workshop.state)
        keeper = psutil.Process(pid)
        return cls(Snapshot.take(), keeper, keeper.num_fds(), len(list(system.wiring.directory)))

    def surplus(self, crowd: Crowd, system: ActorSystem) -> list[str]:
        """What there is now beyond that, in words; children of the keeper may be zombies."""
        now = Holdings.of(crowd, system)
        children = [f"the keeper's child {child}" for child in now.keeper.children()]
        folders = [f"temporary folder {name}" for name in os.listdir(crowd.temp)]
        counted = {
            "descriptors of the keeper": now.keeper_descriptors - self.keeper_descriptors,
            "names in the directory": now.names - self.names,
        }
        more = [f"{number} {what}" for what, number in counted.items() if number > 0]
        return [*self.worker.leftovers(), *children, *folders, *more]


@dataclass(frozen=True)
class Weight:
    """What could grow with the number of runs: objects by type, and megabytes resident."""

    runs: int
    objects: Counter[type]
    worker_mb: float
    keeper_mb: float

    @classmethod
    def of(cls, crowd: Crowd, holdings: Holdings) -> Weight:
        gc.collect()
        return cls(
            runs=crowd.done,
            objects=Counter(map(type, gc.get_objects())),
            worker_mb=psutil.Process().memory_info().rss / 2**20,
            keeper_mb=holdings.keeper.memory_info().rss / 2**20,
        )

    def piled_up(self, later: Weight) -> dict[str, int]:
        """Types of which there is an object more for every other run since."""
        runs = later.runs - self.runs
        return {
            f"{kind.__module__}.{kind.__qualname__}": number
            for kind, number in (later.objects - self.objects).items()
            if number > FACTOR * runs
        }
