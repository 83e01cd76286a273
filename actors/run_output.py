"""What a run prints, as others may see it: without its secrets."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from .domain.errors import InvalidJob, is_final
from .domain.ids import ClaimKey
from .domain.masking import Masker
from .domain.policy import Backoff
from .domain.ports import Clock, Journal

TAIL_LINES: Final = 50
"""How many of a run's last lines of output its crash message may draw on."""

ASKING: Final = Backoff(initial=0.1, ceiling=10.0)

WITHHELD: Final = (
    "Its output is not shown here, because it cannot be found out any more which secrets are in "
    "it; it is in the run's folder in the worker's state folder."
)


class RunOutput:
    """Owns: _masker (what is secret in it; None: cannot be found out, so nothing is shown)."""

    def __init__(self, key: ClaimKey, journal: Journal) -> None:
        self._key = key
        self._journal = journal
        self._masker: Masker | None = Masker()

    def know(self, masker: Masker | None) -> None:
        """From now on ``masker`` tells what is secret; None: show nothing at all."""
        self._masker = masker

    def mask(self, text: str) -> str:
        """A text of our own about the run, which may quote its values."""
        return text if self._masker is None else self._masker.text(text)

    def tail(self) -> tuple[str, ...]:
        """The last lines of what it printed."""
        if self._masker is None:
            return (WITHHELD,)
        lines = self._journal.output_tail(self._key, TAIL_LINES)
        return tuple(self._masker.text(line) for line in lines)

    def show(
        self, log: structlog.typing.FilteringBoundLogger, lines: tuple[str, ...], dropped: int
    ) -> None:
        """Print lines into the worker's log; ``dropped`` bytes were lost before them."""
        if self._masker is None:
            return
        if dropped:
            log.warning("run.output_dropped", bytes=dropped)
        for line in lines:
            log.info("run.output", line=self._masker.text(line))


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
