"""A stream of due runs of all sorts, and what must have become of each in the end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from actors.domain.exit_status import explain
from tests.integration.faults.scene import GATED, Scene, told
from tests.integration.prefect.kit import TERMINAL, moment
from tests.integration.prefect.waiting import until

AFTERWARDS: Final = 60.0
"""Seconds from the end of a run to that of the next, at most, once nobody disturbs any more."""

LOST: Final = explain(None).summary

CODES: Final = (1, 2, 7, 42, 143)
LONGEST_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Due:
    """One run; ``words`` belong into the message of its last state, which is of ``type``.

    ``endless``: it ends when it is cancelled. A ``command`` notes its own starts.
    """

    id: str
    kind: str
    type: str
    words: str = ""
    endless: bool = False
    command: bool = True


class Stream:
    """Makes runs and remembers what they are."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self.runs: list[Due] = []
        self._scene = scene
        self._chance = chance
        self._keeper_kills: list[datetime] = []
        self._cancelled: set[str] = set()
        environment = {"NOTES": str(scene.folder), "PREFECT_API_URL": scene.place.server.api_url}
        self._flows = {
            name: scene.place.deploy_flow(name, job_variables={"env": environment})
            for name in ("succeeds", "fails", "is_killed", "sleeps")
        }

    def command(self) -> None:
        """A due run of a plain command."""
        made: Callable[[], Due] = self._chance.choices(
            [self._fails, self._reports, self._leaves_children, self._is_killed, self._endless],
            [4, 4, 2, 1, 2],
        )[0]
        self.runs.append(made())

    def flow(self) -> None:
        """A due run of a flow."""
        name, type_, words = self._chance.choice(
            [
                ("succeeds", "COMPLETED", ""),
                ("fails", "FAILED", "as planned"),
                ("is_killed", "CRASHED", "SIGKILL"),
                ("sleeps", "CANCELLED", ""),
            ]
        )
        run = self._scene.place.admin.create_run(self._flows[name])
        self.runs.append(Due(run, name, type_, words, endless=name == "sleeps", command=False))

    def cancel(self, share: float) -> None:
        """Cancel about this share of the runs that do not end by themselves."""
        for run in self.runs:
            if run.endless and run.id not in self._cancelled and self._chance.random() < share:
                self._cancelled.add(run.id)
                self._scene.place.admin.set_state(run.id, "CANCELLING", name="Cancelling")

    def keeper_killed(self) -> None:
        """Exit codes of what runs at this moment are lost."""
        self._keeper_kills.append(datetime.now(UTC))

    # -- sorts -----------------------------------------------------------------------------------

    def _seconds(self) -> str:
        return f"{self._chance.uniform(0, LONGEST_SECONDS):.2f}"

    def _fails(self) -> Due:
        code = self._chance.choice(CODES)
        run = self._scene.run("sleep $2; exit $3", self._seconds(), str(code))
        return Due(run, "fails", "CRASHED", f"code {code}")

    def _reports(self) -> Due:
        code = self._chance.choice((0, 0, *CODES))
        run = self._scene.run("sleep $2; exit $3", self._seconds(), str(code), report_states=True)
        if code:
            return Due(run, "reports", "FAILED", f"code {code}")
        return Due(run, "reports", "COMPLETED")

    def _leaves_children(self) -> Due:
        script = "sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & wait' &); sleep $2"
        run = self._scene.run(script, self._seconds(), report_states=True)
        return Due(run, "leaves children", "COMPLETED")

    def _is_killed(self) -> Due:
        run = self._scene.run("sleep $2; kill -9 $$", self._seconds())
        return Due(run, "is killed", "CRASHED", "SIGKILL")

    def _endless(self) -> Due:
        run = self._scene.run(GATED + "exit 99")
        return Due(run, "endless", "CANCELLED", endless=True)

    # -- what must be true in the end ------------------------------------------------------------

    def is_over(self) -> None:
        """Wait until every run is over."""
        left = self._unfinished()
        while left:
            left = self._fewer_than(len(left))

    def _fewer_than(self, number: int) -> dict[str, str]:
        return until(self._unfinished, lambda left: len(left) < number, patience=AFTERWARDS)

    def _unfinished(self) -> dict[str, str]:
        ids = [run.id for run in self.runs]
        found: list[Any] = []
        for start in range(0, len(ids), 100):
            body = {"flow_runs": {"id": {"any_": ids[start : start + 100]}}}
            found += self._scene.place.admin.request("POST", "/flow_runs/filter", body)
        assert len(found) == len(ids)
        return {run["id"]: run["state_type"] for run in found if run["state_type"] not in TERMINAL}

    def ended_truly(self) -> None:
        """Each was run once at most, and the server says how it really ended."""
        for run in self.runs:
            with told(f"{run}"):
                self._judge(run)

    def _judge(self, run: Due) -> None:
        history = self._scene.place.history(run.id)
        types = [state["type"] for state in history if state["name"] != "Submitting"]
        last = history[-1]
        processes = len(self._scene.files_of(run.id, "process.json"))
        assert types.count("PENDING") <= 1, types
        assert types.count("PENDING") == processes or (run.endless and not processes), types
        if run.command:
            assert len(self._scene.starts(run.id)) == processes
        assert [type_ for type_ in types if type_ in TERMINAL] == types[-1:]
        if self._may_be_lost(history) and LOST in (last["message"] or ""):
            assert last["type"] == "CRASHED"
            return
        assert (last["type"], run.words in (last["message"] or "")) == (run.type, True), last

    def _may_be_lost(self, history: list[Any]) -> bool:
        begun = [moment(s["timestamp"]) for s in history if s["type"] == "PENDING"]
        over = moment(history[-1]["timestamp"])
        return any(begun and begun[0] < killed < over for killed in self._keeper_kills)
