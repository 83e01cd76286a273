"""What a run prints, as others may see it: without its secrets."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ..domain.masking import Masker
from ..domain.plain_text import plain
from ..domain.ports import Journal
from ..domain.process import OutputWritten
from ..domain.record import RunRecord

TAIL_LINES: Final = 50
"""How many of a run's last lines of output its crash message may draw on."""

TAIL_SECONDS: Final = 10.0
"""How long the disk may take to read them."""

WITHHELD: Final = (
    "Its output is not shown here, because it is not known which secrets are in it; it is in the "
    "run's folder in the worker's state folder."
)

MAX_HELD: Final = 200
"""How many pieces of output may wait until it is known what is secret in them."""


class RunOutput:
    """A part of ProcessSupervisor: what may be seen of a run, and the log that shows it.

    Owns: _masker (what is secret; None: cannot be found out, so nothing is shown) and _held
    (what waits until that is known).
    """

    def __init__(self, record: RunRecord, journal: Journal) -> None:
        self._key = record.key
        self._journal = journal
        self._masker: Masker | None = Masker()
        self._held: list[OutputWritten] | None = None
        self._unseen = 0
        self.log = structlog.get_logger("actors.process_supervisor").bind(
            flow_run_id=record.run.id, flow_run_name=record.run.name
        )
        self.identify(record)

    def identify(self, record: RunRecord) -> None:
        """Name the job and the process in the log from now on, as far as they are known."""
        if record.job is not None and record.job.name is not None:
            self.log = self.log.bind(job_name=record.job.name)
        if record.pid is not None:
            self.log = self.log.bind(pid=record.pid)

    def withhold(self) -> None:
        """Hold back what the run prints, until :meth:`know`."""
        self._held = []

    @property
    def is_withheld(self) -> bool:
        """Whether it is still to be found out what is secret."""
        return self._held is not None

    def know(self, masker: Masker | None, record: RunRecord) -> None:
        """From now on ``masker`` tells what is secret; None: show nothing at all."""
        self._masker = masker
        if masker is None:
            self.log.warning("run.output_withheld", hint=WITHHELD)
        held, self._held = self._held, None
        if self._unseen:
            hint = "They are in the run's folder in the worker's state folder."
            self.log.warning("run.output_not_shown", pieces=self._unseen, hint=hint)
            self._unseen = 0
        for fact in held or ():
            self.show(fact, record)

    def drop_held(self) -> None:
        """Let go of what is held: the keeper may tell of the run for as long as it knows it."""
        self._held = None

    def mask(self, text: str) -> str:
        """A text of our own about the run, which may quote its values."""
        return text if self._masker is None else self._masker.text(text)

    @property
    def placeholder(self) -> tuple[str, ...]:
        """What stands for the last lines until they are read; a word while they are withheld."""
        return (WITHHELD,) if self._masker is None or self._held is not None else ()

    async def tail(self) -> tuple[str, ...]:
        """The last lines of what it printed, or what stands for them.

        The latter also when the disk does not give them in time.
        """
        masker = self._masker
        if masker is None or self._held is not None:
            return self.placeholder
        try:
            async with asyncio.timeout(TAIL_SECONDS):
                lines = await self._journal.output_tail(self._key, TAIL_LINES)
            return tuple(masker.text(plain(line)) for line in lines)
        except TimeoutError:
            return ()
        except Exception as error:  # how the run ended matters more than what it printed
            self.log_bug("output", error)
            return (WITHHELD,)

    def log_bug(self, what: str, error: BaseException) -> None:
        """Log an error that nobody expected, with its traceback."""
        self.log.error("run.unexpected_error", what=what, exc_info=error)

    def show(self, fact: OutputWritten, record: RunRecord) -> None:
        """Print lines into the worker's log, unless the job has that switched off.

        They wait while it is not known what is secret in them.
        """
        if self._held is not None:
            if len(self._held) < MAX_HELD:
                self._held.append(fact)
            else:
                self._unseen += 1
            return
        if self._masker is None or (record.job is not None and not record.job.stream_output):
            return
        if fact.dropped:
            self.log.warning("run.output_dropped", bytes=fact.dropped)
        try:
            for line in fact.lines:
                self.log.info("run.output", line=self._masker.text(plain(line)))
        except Exception as error:
            self.log_bug("output", error)
