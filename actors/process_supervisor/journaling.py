"""Which effects wait until the record of their decision is saved."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..domain.errors import StateFolderError
from ..domain.log_once import LogOnce
from ..domain.ports import Journal
from ..domain.record import RunRecord
from ..runtime import AsyncioActor, Timer
from .machine import effects
from .machine.proposals import is_submitting
from .messages import Closed, SaveEnded, SaveIsLate
from .output import RunOutput

LATE_SECONDS: Final = 10.0
"""How long a save may take before it counts as failed for all that is neither claim nor start."""


@dataclass(slots=True)
class Step:
    """One decision of the machine: the record after it, and its effects."""

    record: RunRecord
    effects: list[effects.Effect]

    @property
    def must_be_recorded(self) -> bool:
        """Whether it claims or starts the run.

        A successor that knew nothing of it would leave the run Pending, or take it for lost.
        """
        claim = self.record.claim
        return any(
            isinstance(effect, effects.Spawn)
            or (isinstance(effect, effects.Propose) and effect.proposal.transition_id == claim)
            for effect in self.effects
        )

    @property
    def needs_no_record(self) -> bool:
        """Whether no successor need know of it.

        It changes nothing outside but the run's log, or proposes Submitting, which shows whose
        claim it follows.
        """
        return all(
            isinstance(effect, effects.PrepareJob | effects.Introduce)
            or (isinstance(effect, effects.Propose) and is_submitting(effect.proposal))
            for effect in self.effects
        )


class RecordKeeping:
    """A part of ProcessSupervisor: saves the record of every step before its effects.

    The machine decides at once, whatever the disk does: a cancellation finds the run as it is.
    The effects wait, in the order of their steps. One save is under way at a time and takes the
    newest record, which tells all that those before it told, so steps made during a save share
    the next one.

    The effects follow a save that fails, too: it costs what a crash would need, never the run. A
    save that is late is treated as failed, except for a claim or a start: these wait for as long
    as it takes, and so does what follows them. A job is prepared while its record is saved,
    and so is Submitting proposed.

    Owns: _held (steps whose effects wait, the oldest first), _saving (the record that is being
    saved), _covered (how many of the held steps that is for), _unsaved (the newest record, until
    a save has taken it).
    """

    def __init__(self) -> None:
        self._held: list[Step] = []
        self._saving: RunRecord | None = None
        self._covered = 0
        self._unsaved: RunRecord | None = None
        self._is_late = False
        self._succeeded = False

    @property
    def is_saved(self) -> bool:
        """Whether the journal has the run as it is."""
        return self._succeeded and self._saving is None and self._unsaved is None

    @property
    def held(self) -> tuple[effects.Effect, ...]:
        return tuple(effect for step in self._held for effect in step.effects)

    def stepped(
        self, record: RunRecord, effects: Iterable[effects.Effect], *, is_news: bool
    ) -> list[Step]:
        """A step was made; ``is_news``: its record is to be saved. Returns what may be done."""
        step = Step(record, list(effects))
        if is_news:
            self._unsaved = record
        if step.needs_no_record and not self._held:
            return [step]
        self._held.append(step)
        return self._free()

    def next_save(self) -> RunRecord | None:
        """The record to save now, if there is one and no save is under way."""
        if self._saving is not None or self._unsaved is None:
            return None
        self._saving, self._unsaved = self._unsaved, None
        self._covered = len(self._held)
        return self._saving

    def save_ended(self, *, succeeded: bool) -> list[Step]:
        """The save is over. Returns what may be done."""
        self._saving, self._is_late, self._succeeded = None, False, succeeded
        free, self._held = self._held[: self._covered], self._held[self._covered :]
        self._covered = 0
        return free + self._free()

    def save_is_late(self, record: RunRecord) -> list[Step]:
        """The save of ``record`` takes long, unless it is over. Returns what may be done."""
        self._is_late = self._is_late or self._saving is record
        return self._free()

    def withdraw(self, kind: type[effects.Effect]) -> bool:
        """Take back effects of a kind, if there are any that wait."""
        before = len(self.held)
        for step in self._held:
            step.effects = [effect for effect in step.effects if not isinstance(effect, kind)]
        return len(self.held) < before

    def _free(self) -> list[Step]:
        is_recorded = self._saving is None and self._unsaved is None
        if is_recorded or (self._is_late and not any(s.must_be_recorded for s in self._held)):
            free, self._held, self._covered = self._held, [], 0
            return free
        return []


class Recorder:
    """A part of ProcessSupervisor: writes into the journal what RecordKeeping decides."""

    def __init__(
        self, actor: AsyncioActor, keeping: RecordKeeping, journal: Journal, output: RunOutput
    ) -> None:
        self._actor = actor
        self._keeping = keeping
        self._journal = journal
        self._output = output
        self._late: Timer | None = None
        self._trouble = LogOnce()

    def save_next(self) -> None:
        """Begin the next save; ``SaveEnded`` follows, and ``SaveIsLate`` if it takes long."""
        record = self._keeping.next_save()
        if record is not None:
            saving = self._journal.save(record.for_keeping())
            self._actor.pipe(saving, on_result=lambda _: SaveEnded(), on_error=SaveEnded)
            self._late = self._actor.after(LATE_SECONDS, SaveIsLate(record))

    def saved(self, message: SaveEnded | SaveIsLate) -> list[Step]:
        """A save is over, or takes long. Returns what may be done."""
        if isinstance(message, SaveIsLate):
            return self._keeping.save_is_late(message.record)
        if self._late is not None:
            self._late.cancel()
        self.log_failure(message.error)
        return self._keeping.save_ended(succeeded=message.error is None)

    def log_failure(self, error: Exception | None) -> None:
        """Log once that the journal cannot be written; any other error is a bug and is raised."""
        if error is None:
            return
        if not isinstance(error, StateFolderError):
            raise error
        if self._trouble.report(str(error)):
            self._output.log.error("journal.failed", error=str(error))

    def close(self, record: RunRecord, *, keeper_is_done: bool) -> None:
        """Close the record of a run that is over; ``Closed`` follows.

        The record of a run that the keeper still has stays open for the next worker.
        """
        is_known = self._keeping.is_saved or record.reason is None
        closing = self._close(record, writes=is_known and keeper_is_done)
        self._actor.pipe(closing, on_result=lambda _: Closed(), on_error=Closed)

    async def _close(self, record: RunRecord, *, writes: bool) -> None:
        if writes:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LATE_SECONDS):
                    await self._journal.close(record.for_keeping())
