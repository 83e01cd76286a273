"""What a run prints, as others may see it: without its secrets."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ..domain.errors import InvalidJob, is_final
from ..domain.masking import Masker
from ..domain.plain_text import plain
from ..domain.policy import Backoff
from ..domain.ports import Clock, Journal
from ..domain.process import OutputWritten, ProcessExited
from ..domain.record import RunRecord

TAIL_LINES: Final = 50
"""How many of a run's last lines of output its crash message may draw on."""

ASKING: Final = Backoff(initial=0.1, ceiling=10.0)

WITHHELD: Final = (
    "Its output is not shown here, because it cannot be found out any more which secrets are in "
    "it; it is in the run's folder in the worker's state folder."
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
        self._held: list[ProcessExited | OutputWritten] | None = None
        self._unseen = 0
        self.log = structlog.get_logger("actors.process_supervisor").bind(
            flow_run_id=record.run.id, flow_run_name=record.run.name
        )

    def located(self, pid: int) -> None:
        """Name the process in the log from now on."""
        self.log = self.log.bind(pid=pid)

    def withhold(self) -> None:
        """Hold back what the run prints, until :meth:`know`."""
        self._held = []

    def holds(self, fact: ProcessExited | OutputWritten) -> bool:
        """Whether ``fact`` has to wait (its exit too, since a crash quotes what was printed)."""
        if self._held is None:
            return False
        if isinstance(fact, ProcessExited) or len(self._held) < MAX_HELD:
            self._held.append(fact)
        else:
            self._unseen += 1
        return True

    def know(self, masker: Masker | None) -> list[ProcessExited | OutputWritten]:
        """From now on ``masker`` tells what is secret; what was held is handed back.

        ``None``: show nothing at all.
        """
        self._masker = masker
        held, self._held = self._held, None
        if self._unseen:
            hint = "They are in the run's folder in the worker's state folder."
            self.log.warning("run.output_not_shown", pieces=self._unseen, hint=hint)
            self._unseen = 0
        return held or []

    def mask(self, text: str) -> str:
        """A text of our own about the run, which may quote its values."""
        return text if self._masker is None else self._masker.text(text)

    def tail(self) -> tuple[str, ...]:
        """The last lines of what it printed; none yet while they are withheld."""
        if self._held is not None:
            return ()
        if self._masker is None:
            return (WITHHELD,)
        lines = self._journal.output_tail(self._key, TAIL_LINES)
        return tuple(self._masker.text(plain(line)) for line in lines)

    def show(self, lines: tuple[str, ...], dropped: int) -> None:
        """Print lines into the worker's log; ``dropped`` bytes were lost before them."""
        if self._masker is None:
            return
        if dropped:
            self.log.warning("run.output_dropped", bytes=dropped)
        for line in lines:
            self.log.info("run.output", line=self._masker.text(plain(line)))


async def learn_secrets(
    ask: Callable[[], Awaitable[Masker]], *, clock: Clock, rng: random.Random
) -> Masker | None:
    """What an adopted run must not show: secrets are in no record, so the server is asked again.

    It is asked until it answers. Nothing is lost by waiting, since the run's end cannot be
    reported without the server either. None: it cannot be found out any more.
    """
    failures = 0
    while True:
        try:
            return await ask()
        except Exception as error:
            if is_final(error) or isinstance(error, InvalidJob):
                return None
            failures += 1
        await clock.sleep(ASKING.delay(failures, rng))
