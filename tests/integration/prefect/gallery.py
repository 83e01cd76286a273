"""One worker, real engines and every kind of end a flow can have: told once, asked by many tests.

An engine costs two seconds of processor time, so all of a server's flows run together, once, and
tests look at what became of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from tests.integration.prefect.flow_programs import BROKEN_FLOW
from tests.integration.prefect.kit import TERMINAL, Place
from tests.integration.prefect.waiting import PATIENCE, until

CANCELLED: Final = ("sleeps", "ignores_sigterm")
"""Flows that are cancelled once they are running."""

ENDS_BY_ITSELF: Final = (
    "is_killed",
    "is_terminated",
    "leaves_at_once",
    "fails",
    "completes_and_exits_with_7",
)

AHEAD_SECONDS: Final = 40.0
"""How far in the future ``succeeds`` is scheduled: however busy the machine, it is taken early."""

PREFETCH_SECONDS: Final = 60.0


@dataclass
class Picture:
    """What became of one flow run, as the server tells it; ``hooks`` as the flow noted them."""

    place: Place
    id: str
    due: datetime
    tags: list[str] = field(default_factory=list)

    @cached_property
    def run(self) -> Any:
        return self.place.admin.read_run(self.id)

    @cached_property
    def history(self) -> list[Any]:
        return self.place.history(self.id)

    @property
    def types(self) -> list[str]:
        """Without Submitting, which not all servers have."""
        return [state["type"] for state in self.history if state["name"] != "Submitting"]

    @property
    def pid(self) -> int:
        return int(self.run["infrastructure_pid"].rpartition(":")[2])

    def event(self, kind: str) -> Any:
        """The worker's event of this kind about the run, once it has arrived."""
        name = f"prefect.worker.{kind}-flow-run"

        def named() -> list[Any]:
            return [e for e in self.place.events_about(self.id) if e["event"] == name]

        [event] = until(named)
        return event

    def hooks(self) -> list[tuple[str, str, int]]:
        """Name of the hook, type of the state, pid of the process."""
        lines = self.place.started_by(f"hooks-{self.id}")
        return [(name, state, int(pid)) for name, state, pid in map(str.split, lines)]


@dataclass(frozen=True)
class Gallery:
    """The pictures by the names of their flows, and where they were taken."""

    place: Place
    pictures: Mapping[str, Picture]

    def __getitem__(self, name: str) -> Picture:
        return self.pictures[name]


def take_pictures(place: Place) -> Gallery:
    """Run every flow to its end. A flow that does not end is left to the tests to complain of."""
    place.create_pool()
    pictures = {
        name: _scheduled(place, name) for name in (*ENDS_BY_ITSELF, BROKEN_FLOW, *CANCELLED)
    }
    with place.worker(prefetch_seconds=PREFETCH_SECONDS) as worker:
        # only once the worker takes runs: a busy machine takes its time to start one
        place.state_once(pictures["is_killed"].id, "PENDING", "RUNNING", "CRASHED")
        pictures["succeeds"] = _scheduled(place, "succeeds", ahead=AHEAD_SECONDS)
        to_cancel = set(CANCELLED)
        end = time.monotonic() + 2 * PATIENCE

        def states() -> list[str]:
            now = {name: place.state(picture.id)["type"] for name, picture in pictures.items()}
            for name in sorted(to_cancel):
                if now[name] == "RUNNING" and _is_in_its_body(pictures[name]):
                    to_cancel.discard(name)
                    place.admin.set_state(pictures[name].id, "CANCELLING", name="Cancelling")
            return list(now.values())

        until(states, lambda now: TERMINAL.issuperset(now) or time.monotonic() > end, patience=150)
        worker.finish()  # an engine says Completed some time before its process is over
    return Gallery(place, pictures)


def _scheduled(place: Place, name: str, *, ahead: float = 0.0) -> Picture:
    due = datetime.now(UTC) + timedelta(seconds=ahead)
    deployment = place.deploy_flow(name, tags=["of the deployment", "both"])
    tags = ["both", "a tag of the run"]
    # Who ends by itself may take its time, with its hooks, on a busy machine.
    grace = 1 if name == "ignores_sigterm" else 60
    job = {"env": {"NOTES": str(place.folder)}, "grace_seconds": grace}
    run = place.admin.create_run(deployment, due=due, job_variables=job, tags=tags)
    return Picture(place, run, due, tags)


def _is_in_its_body(picture: Picture) -> bool:
    """Whether the flow's own code runs: it ignores signals only from then on."""
    return bool(picture.place.started_by(f"body-{picture.id}"))
