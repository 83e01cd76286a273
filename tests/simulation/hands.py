"""The keeper and the journal as one life of the worker has them at hand, troubles included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

from actors.domain.errors import KeeperError
from actors.domain.ids import ClaimKey, FlowRunId
from actors.domain.memory import MemorySample
from actors.domain.ports import FactListener
from actors.domain.process import (
    KeptRun,
    OutputWritten,
    ProcessFact,
    ProcessIdentity,
    SpawnOrder,
)
from actors.domain.record import Phase, RunRecord
from actors.testing.journal import MemoryJournal
from actors.testing.measure import ScriptedMeasure
from actors.testing.processes import ScriptedKeeper, ScriptedLauncher, ScriptedProcess

from .life import Life, Line
from .trace import Trace


class KeeperRoad:
    """How the way to the keeper is: ``away`` no request arrives; ``loss`` answers get lost."""

    def __init__(self, rng: Random, loss: float, failed: Callable[[], None]) -> None:
        self.rng = rng
        self.loss = loss
        self.away = False
        self.failed = failed
        """Called when a request, or its answer, is lost."""

    def draw(self) -> tuple[float, bool, bool]:
        """Seconds there, whether the request is lost, whether the answer is."""
        if self.away:
            return 0.01, True, True
        troubled = self.rng.random() < self.loss
        lost = troubled and self.rng.random() < 0.5
        return self.rng.uniform(0.001, 0.05), lost, troubled


class LivingMemory(ScriptedMeasure):
    """What the processes of a scripted keeper hold; ``holds`` tells how many bytes one does."""

    def __init__(self, keeper: ScriptedKeeper, holds: Callable[[ScriptedProcess], int]) -> None:
        super().__init__()
        self._keeper = keeper
        self._holds = holds

    async def sample(self, runs: Mapping[ClaimKey, ProcessIdentity]) -> MemorySample:
        """See the port."""
        alive = (process for process in self._keeper.alive() if process.key in runs)
        self.runs = {process.key: self._holds(process) for process in alive}
        return await super().sample(runs)


class LifeLauncher:
    """The Launcher port of one life. What did not arrive when that ends never does."""

    def __init__(
        self,
        keeper: ScriptedKeeper,
        *,
        life: Life,
        road: KeeperRoad,
        trace: Trace,
        happened: Callable[[], None],
        ordered: Callable[[ClaimKey, int, float], None],
    ) -> None:
        self._ordered = ordered
        self._launcher = ScriptedLauncher(keeper)
        self._life = life
        self._road = road
        self._trace = trace
        self._happened = happened

    async def spawn(self, order: SpawnOrder, listener: FactListener) -> ProcessIdentity:
        def spawn() -> Any:
            return self._launcher.spawn(order, self._heard(listener))

        identity: ProcessIdentity = await self._ask("spawn", order.key, spawn)
        return identity

    async def watch(self, key: ClaimKey, listener: FactListener) -> KeptRun | None:
        def watch() -> Any:
            return self._launcher.watch(key, self._heard(listener))

        kept: KeptRun | None = await self._ask("watch", key, watch)
        return kept

    async def end_tree(
        self, key: ClaimKey, *, signal: int, grace_seconds: float, announce_cancel: bool = False
    ) -> None:
        def end() -> Any:
            self._ordered(key, signal, grace_seconds)
            return self._launcher.end_tree(
                key, signal=signal, grace_seconds=grace_seconds, announce_cancel=announce_cancel
            )

        await self._ask("end_tree", key, end)

    async def forget(self, key: ClaimKey) -> None:
        await self._ask("forget", key, lambda: self._launcher.forget(key))

    async def table(self) -> list[KeptRun]:
        table: list[KeptRun] = await self._ask("table", "", self._launcher.table)
        return table

    async def _ask(self, operation: str, key: str, effect: Callable[[], Any]) -> Any:
        self._life.gate()
        delay, lost, unanswered = self._road.draw()
        await asyncio.sleep(delay)
        self._life.gate()
        result = None
        if not lost:
            self._trace.say("keeper", operation, key)
            result = await effect()
            self._happened()
        await asyncio.sleep(delay)
        self._life.gate()
        if unanswered:
            self._road.failed()
            raise KeeperError("no way to the keeper")
        return result

    def _heard(self, listener: FactListener) -> FactListener:
        """Facts come through the loop, as from a socket, and to the living only."""

        def hear(fact: ProcessFact) -> None:
            if isinstance(fact, OutputWritten):
                fact = replace(fact, lines=tuple(Line.of(line, self._life) for line in fact.lines))
            asyncio.get_running_loop().call_soon(pass_on, fact)

        def pass_on(fact: ProcessFact) -> None:
            if not self._life.over:
                listener(fact)

        return hear


class LifeJournal:
    """The Journal port of one life, over what outlives it."""

    def __init__(
        self,
        disk: MemoryJournal,
        *,
        life: Life,
        trace: Trace,
        happened: Callable[[], None],
        saving: Callable[[RunRecord], None],
        unrecorded: set[FlowRunId],
    ) -> None:
        self._saving = saving
        self._disk = disk
        self._life = life
        self._trace = trace
        self._happened = happened
        self.unrecorded = unrecorded
        self.folder = disk.folder

    def check(self) -> None:
        self._life.gate()
        self._disk.check()

    def save(self, record: RunRecord) -> None:
        self._write(record, self._disk.save)

    def close(self, record: RunRecord) -> None:
        self._write(record, self._disk.close)

    def open_records(self) -> list[RunRecord]:
        self._life.gate()
        return self._disk.open_records()

    def output_tail(self, key: ClaimKey, lines: int) -> tuple[str, ...]:
        self._life.gate()
        return self._disk.output_tail(key, lines)

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        self._life.gate()
        return await self._disk.prune(now, keep_seconds=keep_seconds, keep_count=keep_count)

    def _write(self, record: RunRecord, write: Callable[[RunRecord], None]) -> None:
        self._life.gate()
        report = record.report.name if record.report else "-"
        full = " (disk full)" if self._disk.full else ""
        self._trace.say("journal", record.run.name, record.phase, record.reason, report + full)
        if self._disk.full and record.phase is Phase.CLAIMING:
            self.unrecorded.add(record.run.id)
        self._saving(record)
        write(record)
        self._happened()
        self._life.gate()
