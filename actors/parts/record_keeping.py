"""What a successor will find of a run."""

from __future__ import annotations

from ..domain.complaint import Complaint
from ..domain.errors import StateFolderError
from ..domain.ports import Journal
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
        record = run.record.for_keeping()
        try:
            if run.is_over:
                self._journal.close(record)
            else:
                self._journal.save(record)
        except StateFolderError as error:
            self.is_saved = False
            return str(error) if self._complaint.raise_(str(error)) else None
        self.is_saved = True
        return None
