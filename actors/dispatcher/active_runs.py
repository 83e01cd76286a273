"""The table of active runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace

from ..domain.ids import ClaimKey, FlowRunId
from ..domain.ports import Clock
from ..domain.process import ProcessIdentity
from ..messages.dispatcher import RunInfo
from ..messages.process_supervisor import SupervisorStart
from ..runtime import AsyncioActor, AsyncioRef
from .admission import Usage

StartSupervisor = Callable[[SupervisorStart], AsyncioRef]
"""Starts a run's supervisor; given by the composition root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """A run and its supervisor."""

    info: RunInfo
    supervisor: AsyncioRef
    since: float
    """When the supervisor was started, on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class SupervisorEnded:
    """To the Dispatcher itself: a supervisor has stopped, or failed."""

    key: ClaimKey
    failure: BaseException | None


class ActiveRuns(Sized, Iterable[ActiveRun]):
    """A part of Dispatcher, owns: claim -> active run.

    The slots in use are those that the runs hold, so none is ever counted twice or lost. A flow
    run may be here with two claims, when a full disk kept the end of the first from being
    recorded.
    """

    def __init__(
        self, actor: AsyncioActor, start_supervisor: StartSupervisor, clock: Clock
    ) -> None:
        self._actor = actor
        self._start_supervisor = start_supervisor
        self._clock = clock
        self._runs: dict[ClaimKey, ActiveRun] = {}

    def __iter__(self) -> Iterator[ActiveRun]:
        return iter(tuple(self._runs.values()))

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def infos(self) -> tuple[RunInfo, ...]:
        return tuple(active.info for active in self)

    @property
    def usage(self) -> Usage:
        infos = self.infos
        return Usage(
            run_ids=frozenset(info.run.id for info in infos),
            claimed_ids=frozenset(info.run.id for info in infos if info.claimed),
            open_claims=sum(not info.claimed for info in infos),
            slots_in_use=sum(info.holds_slot for info in infos),
        )

    @property
    def processes(self) -> int:
        """How many runs have, or may have, a process."""
        return sum(info.holds_slot and info.claimed for info in self.infos)

    @property
    def memory_limited(self) -> dict[ClaimKey, ProcessIdentity]:
        """The processes that are not over and whose memory has a limit."""
        return {
            info.key: info.memory_limited
            for info in self.infos
            if info.holds_slot and info.memory_limited is not None
        }

    def of_run(self, run_id: FlowRunId) -> list[ActiveRun]:
        return [active for active in self if active.info.run.id == run_id]

    def of_claim(self, key: ClaimKey) -> ActiveRun | None:
        return self._runs.get(key)

    def supervise(self, start: SupervisorStart) -> None:
        """Start a supervisor; it takes the place of one that has failed."""
        self.put(RunInfo.of(start.run), self._start_supervisor(start))

    def put(self, info: RunInfo, supervisor: AsyncioRef) -> None:
        since = self._clock.monotonic()
        self._runs[info.key] = ActiveRun(info=info, supervisor=supervisor, since=since)
        self._actor.watch(supervisor, lambda failure: SupervisorEnded(info.key, failure))

    def change(self, info: RunInfo) -> bool:
        """Note a run as it is now. Returns whether it has freed its slot."""
        active = self._runs.get(info.key)
        if active is None:
            return False
        self._runs[info.key] = replace(active, info=info)
        return active.info.holds_slot and not info.holds_slot

    def drop(self, key: ClaimKey) -> None:
        del self._runs[key]
