"""Every run in hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any

from ..domain.ids import ClaimKey, FlowRunId
from ..domain.model import FlowRun
from ..domain.process import ProcessIdentity
from ..messages.runs import Situation
from ..runtime import AsyncioRef


@dataclass(frozen=True, slots=True, kw_only=True)
class InHand:
    """A run, and who sees it through."""

    situation: Situation
    supervisor: AsyncioRef
    since: float
    """When its supervisor was started, on the monotonic clock."""
    failures: int = 0
    """How many of its supervisors have failed in a row."""
    is_given_up: bool = False
    """Whether its supervisor is to end it, because those before have failed."""


class RunTable(Sized, Iterable[InHand]):
    """A part of Dispatcher, owns: claim -> run in hand.

    The slots in use are those that the runs hold, so that none is ever counted twice or lost. A
    flow run may be there by two claims, when a full disk kept the end of the first from being
    written down.
    """

    def __init__(self) -> None:
        self._runs: dict[ClaimKey, InHand] = {}

    def __iter__(self) -> Iterator[InHand]:
        return iter(tuple(self._runs.values()))

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def run_ids(self) -> frozenset[FlowRunId]:
        """The flow runs that are in hand."""
        return frozenset(held.situation.run.id for held in self)

    @property
    def slots_in_use(self) -> int:
        """How many runs take up capacity."""
        return sum(held.situation.holds_slot for held in self)

    @property
    def claims(self) -> int:
        """How many the server has not yet given to us."""
        return sum(not held.situation.claimed for held in self)

    @property
    def processes(self) -> int:
        """How many have, or may have, a process."""
        return sum(held.situation.holds_slot and held.situation.claimed for held in self)

    @property
    def memory_limited(self) -> dict[ClaimKey, ProcessIdentity]:
        """The processes, those that are not over, whose memory has a limit."""
        situations = (held.situation for held in self)
        return {
            one.key: one.memory_limited
            for one in situations
            if one.holds_slot and one.memory_limited is not None
        }

    def claimed_among(self, runs: Iterable[FlowRun]) -> int:
        """How many of ``runs`` we have got already."""
        ours = {held.situation.run.id for held in self if held.situation.claimed}
        return sum(run.id in ours for run in runs)

    def of_run(self, run_id: FlowRunId) -> list[InHand]:
        """Every claim of this flow run."""
        return [held for held in self if held.situation.run.id == run_id]

    def of_claim(self, key: ClaimKey) -> InHand | None:
        """The run that was claimed under this key."""
        return self._runs.get(key)

    def put(self, held: InHand) -> None:
        """Add a run, or know better of it."""
        self._runs[held.situation.key] = held

    def change(self, key: ClaimKey, **changes: Any) -> None:
        """Change the situation of the run claimed under this key, if it is still in hand."""
        held = self.of_claim(key)
        if held is not None:
            self.put(replace(held, situation=replace(held.situation, **changes)))

    def drop(self, key: ClaimKey) -> None:
        """It is not in hand any more."""
        del self._runs[key]
