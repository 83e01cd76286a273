"""What a successor will find of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..domain.complaint import Complaint
from ..domain.errors import StateFolderError
from ..domain.ports import Journal
from ..domain.record import Phase, RunRecord
from ..domain.run import Run


class RecordKeeping:
    """A part of ProcessSupervisor, owns: is_saved, whether the journal has the run as it is."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._complaint = Complaint()
        self.is_saved = False

    def save(self, run: Run) -> str | None:
        """Write the record down, before anything is done, so that a successor can resume.

        A journal that cannot be written costs what a crash would need, never the run; the
        trouble is returned when it is news.
        """
        return self._write(self._journal.save, run.record)

    def save_as_unsettled(self, run: Run) -> str | None:
        """Write a run that is over down as one that has still to be settled."""
        return self._write(
            self._journal.save, replace(run.record, phase=Phase.REPORTING, report=None)
        )

    def close(self, run: Run) -> str | None:
        """Write the record down for the last time."""
        return self._write(self._journal.close, run.record)

    def _write(self, write: Callable[[RunRecord], None], record: RunRecord) -> str | None:
        try:
            write(record.for_keeping())
        except StateFolderError as error:
            self.is_saved = False
            return str(error) if self._complaint.raise_(str(error)) else None
        self.is_saved = True
        return None
