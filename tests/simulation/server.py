"""The server of a simulation: it notes who wrote what over which state, and who had looked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from actors.domain.ids import FlowRunId
from actors.domain.model import Proposal, State, Verdict
from actors.domain.ports import Clock
from actors.testing.prefect_world import PrefectWorld

Author = Literal["worker", "others"]

CROSSING_SECONDS = 25.0
"""From a look to the arrival of what was decided on it, at the longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A state took the place of another one."""

    run_id: FlowRunId
    author: Author
    before: State
    after: State
    proposal: Proposal
    crossed: bool
    """Whether ``before`` was written while the worker's request was under way: it had looked just
    before, and the server offers no way to propose a state on condition of another."""


class WatchedServer(PrefectWorld):
    """``author`` is whoever acts at the moment; ``on_write`` hears of every new state."""

    def __init__(self, clock: Clock, version: str, on_write: Callable[[Write], None]) -> None:
        super().__init__(clock, version=version)
        self.author: Author = "others"
        self.proposed: set[str] = set()
        """Transition ids that the worker proposed."""
        self._on_write = on_write
        self._time = clock.monotonic
        self._written_at: dict[FlowRunId, float] = {}
        self._looked_at: dict[FlowRunId, float] = {}

    def looked(self, run_id: FlowRunId) -> None:
        """The worker is shown this run's state."""
        self._looked_at[run_id] = self._time()

    def propose(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        run = self.run(run_id)
        before, count = run.state, len(run.history)
        if self.author == "worker":
            self.proposed.add(proposal.transition_id)
        verdict = super().propose(run_id, proposal)
        if len(run.history) > count:
            written = self._written_at.get(run_id, 0.0)
            looked, now = self._looked_at.get(run_id, -100.0), self._time()
            self._written_at[run_id] = now
            self._on_write(
                Write(
                    run_id=run_id,
                    author=self.author,
                    before=before,
                    after=run.state,
                    proposal=proposal,
                    crossed=now - CROSSING_SECONDS <= looked < written,
                )
            )
        return verdict
