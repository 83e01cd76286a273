"""The Launcher and Journal of one life of the worker, with their faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

from actors.domain.errors import KeeperError, StateFolderError
from actors.domain.ids import ClaimKey, FlowRunId
from actors.domain.ports import FactListener
from actors.domain.process import (
    KeptRun,
    MemorySample,
    OutputWritten,
    ProcessFact,
    ProcessIdentity,
    SpawnOrder,
)
from actors.domain.record import Phase, RunRecord
from actors.testing.journal import MemoryJournal
from actors.testing.processes import ScriptedKeeper, ScriptedLauncher, ScriptedProcess
from tests.support.builders import flow_run_id_of
from tests.support.scripted_memory import ScriptedResourceMonitor

from .bugs import Bugs
from .life import Life, Line
from .trace import Trace

SLOW_DISK_SECONDS = 2.0
"""The longest that a disk takes which is not stuck."""


class KeeperLink:
    """Faults between worker and keeper. ``away``: nothing arrives; ``loss``: the share lost."""

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


class SimulatedMemory(ScriptedResourceMonitor):
    """What the processes of a scripted keeper hold; ``holds`` tells how many bytes one does."""

    def __init__(self, keeper: ScriptedKeeper, holds: Callable[[ScriptedProcess], int]) -> None:
        super().__init__()
        self._keeper = keeper
        self._holds = holds

    async def sample(self, runs: Mapping[ClaimKey, ProcessIdentity]) -> MemorySample:

        self.runs = {process.key: self._holds(process) for process in self._keeper.alive()}
        return await super().sample(runs)


class LifeLauncher:
    """The Launcher port of one life. What did not arrive when that ends never does."""

    def __init__(
        self,
        keeper: ScriptedKeeper,
        *,
        life: Life,
        keeper_link: KeeperLink,
        trace: Trace,
        happened: Callable[[], None],
        ordered: Callable[[ClaimKey, int, float], None],
        bugs: Bugs,
    ) -> None:
        self._bugs = bugs
        self._ordered = ordered
        self._launcher = ScriptedLauncher(keeper)
        self._life = life
        self._keeper_link = keeper_link
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
        if not key:
            return await self._send(operation, key, effect)
        run_id = flow_run_id_of(ClaimKey(key))
        self._bugs.meet(operation, run_id, "before")
        result = await self._send(operation, key, effect)
        self._bugs.meet(operation, run_id, "after")
        return result

    async def _send(self, operation: str, key: str, effect: Callable[[], Any]) -> Any:
        delay, lost, unanswered = self._keeper_link.draw()
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
            self._keeper_link.failed()
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


class Disk:
    """How long the disk takes for what is written together; ``stuck`` it does not answer."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.stuck = False
        self.stick: Callable[[Phase], None] = lambda phase: None
        """Called with the phase of each record that is to be written."""

    async def turn(self) -> None:
        """Return when it has moved on."""
        longest = self.rng.choices((0.0, 0.01, 0.3, SLOW_DISK_SECONDS), (40, 40, 18, 2))[0]
        await asyncio.sleep(self.rng.uniform(0.0, longest))
        while self.stuck:  # noqa: ASYNC110 - it is set by whoever plays bad luck
            await asyncio.sleep(0.5)


class LifeJournal:
    """The Journal port of one life, over what outlives it.

    What waits is written together, in order, also when nobody waits for it any more, and not
    after the end of this life.
    """

    def __init__(
        self,
        records: MemoryJournal,
        disk: Disk,
        *,
        life: Life,
        trace: Trace,
        happened: Callable[[], None],
        wanted: Callable[[ClaimKey], None],
        saving: Callable[[RunRecord], None],
        unrecorded: set[FlowRunId],
        bugs: Bugs,
    ) -> None:
        self._wanted = wanted
        self._bugs = bugs
        self._saving = saving
        self._records = records
        self._disk = disk
        self._life = life
        self._trace = trace
        self._happened = happened
        self._waiting: list[tuple[Callable[[], None], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self.unrecorded = unrecorded
        self.folder = records.folder

    async def check(self) -> None:
        await self._enqueue(self._records.make_room)

    async def save(self, record: RunRecord) -> None:
        what = "note" if record.phase is Phase.RUNNING else "save"
        self._bugs.meet(what, record.run.id, "before")
        self._wanted(record.key)
        self._disk.stick(record.phase)
        await self._enqueue(lambda: self._write(record))
        self._bugs.meet(what, record.run.id, "after")

    async def close(self, record: RunRecord) -> None:
        self._wanted(record.key)
        await self._enqueue(lambda: self._write(record))

    async def record(self, key: ClaimKey) -> RunRecord | None:
        await self._enqueue(lambda: None)
        return await self._records.record(key)

    async def open_records(self) -> list[RunRecord]:
        await self._enqueue(lambda: None)
        return self._records.unsettled

    async def output_tail(self, key: ClaimKey, lines: int) -> tuple[str, ...]:
        self._life.gate()
        await self._disk.turn()
        self._life.gate()
        return await self._records.output_tail(key, lines)

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        self._life.gate()
        return await self._records.prune(now, keep_seconds=keep_seconds, keep_count=keep_count)

    async def _enqueue(self, write: Callable[[], None]) -> None:
        self._life.gate()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((write, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write_together())
        await done
        self._life.gate()

    async def _write_together(self) -> None:
        while self._waiting and not self._life.over:
            batch, self._waiting = self._waiting, []
            await self._disk.turn()
            for write, done in batch:
                error: Exception | None = None
                try:
                    if not self._life.over:
                        write()
                except StateFolderError as trouble:
                    error = trouble
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
        self._writing = None

    def _write(self, record: RunRecord) -> None:
        report = record.report.name if record.report else "-"
        full = " (disk full)" if self._records.full else ""
        self._trace.say("journal", record.run.name, record.phase, record.reason, report + full)
        if self._records.full and record.phase is Phase.CLAIMING:
            self.unrecorded.add(record.run.id)
        self._saving(record)
        try:
            self._records.write(record)
        finally:
            self._happened()
